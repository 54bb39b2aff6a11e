"""What the OpenAI SDK for Python makes of the gateway, as one JSON document.

OPENAI_BASE_URL, OPENAI_API_KEY, WRONG_KEY, MODEL and EMBEDDINGS_MODEL come in the environment.
"""

import json
import os

import openai

MODEL = os.environ["MODEL"]
MESSAGES = [{"role": "user", "content": "hi"}]

client = openai.OpenAI(max_retries=0)
chat = client.chat.completions.create(model=MODEL, messages=MESSAGES)
stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
pieces = [event.choices[0].delta.content for event in stream if event.choices]
embeddings = client.embeddings.create(
    model=os.environ["EMBEDDINGS_MODEL"], input="hi", encoding_format="float"
)
models = client.models.list()


def refusal(key):
    try:
        openai.OpenAI(api_key=key, max_retries=0).models.list()
    except openai.APIStatusError as error:
        return {
            "kind": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "header": error.response.headers.get("x-sidecar-refusal"),
        }


print(
    json.dumps(
        {
            "chat": chat.choices[0].message.content,
            "tokens": chat.usage.completion_tokens,
            "pieces": [piece for piece in pieces if piece],
            "embedding": embeddings.data[0].embedding,
            "models": sorted(model.id for model in models.data),
            "wrong": refusal(os.environ["WRONG_KEY"]),
        }
    )
)
