"""The web page: Gradio in front of the chat service. It knows the wire contract and nothing else of the server but its voice."""
