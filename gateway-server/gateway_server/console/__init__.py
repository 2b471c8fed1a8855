"""The operators' pages, made on the server; scripts and styles are the gateway's own."""
