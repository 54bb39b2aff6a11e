"""What the Anthropic SDK for Python makes of the gateway, as one JSON document.

ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, WRONG_KEY and MODEL come in the environment.
"""

import json
import os

import anthropic

QUESTION = {
    "model": os.environ["MODEL"],
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "hi"}],
}

client = anthropic.Anthropic(max_retries=0)
message = client.messages.create(**QUESTION)
with client.messages.stream(**QUESTION) as stream:
    pieces = list(stream.text_stream)


def refusal(key):
    try:
        anthropic.Anthropic(api_key=key, max_retries=0).messages.create(**QUESTION)
    except anthropic.APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code, "body": error.body}


print(
    json.dumps(
        {
            "message": message.content[0].text,
            "tokens": message.usage.output_tokens,
            "pieces": pieces,
            "wrong": refusal(os.environ["WRONG_KEY"]),
        }
    )
)
