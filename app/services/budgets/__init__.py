"""Budgets: how much the sessions of an account or a site may use in a day or a month."""
