#!/bin/sh
# A conversation with curl: begin, write, stream, read, export, delete. Usage: sh chat.sh [ADDRESS]
set -eu
address=${1:-http://127.0.0.1:8080}

session=$(curl -fsS "$address/v1/sessions" -d '{}' | sed 's/.*"session_id":"\([^"]*\)".*/\1/')
curl -fsS "$address/v1/chat" -d "{\"session_id\": \"$session\", \"message\": \"I'm Ana, and I had a rough day.\"}"
echo
curl -fsSN "$address/v1/chat" -d "{\"session_id\": \"$session\", \"message\": \"My best friend is moving away.\", \"stream\": true}"
curl -fsS "$address/v1/sessions/$session/export?format=markdown"
curl -fsS -X DELETE "$address/v1/sessions/$session"
