"""HTTP for the API and the downloads, within the connection's settings; NXCloud's protocol is unknown here."""
