"""A server of the Model Context Protocol, through which one agent hands work to others. It calls the API as any caller."""
