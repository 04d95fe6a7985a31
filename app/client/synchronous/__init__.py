# Made from app/client/asynchronous by bin/generate-client. Change that, and run it again.
