"""The search page and its REST interface: plain FastAPI, whatever serves it."""
