"""What the OpenAI and the Anthropic SDK for Python make of limits, as one JSON document.

BASE_URL, SPENT_KEY (its budget is spent) and RPM_KEY (30 requests a minute) come in the environment.
"""

import json
import os

import anthropic
import openai

BASE_URL = os.environ["BASE_URL"]
ASKED = {"model": "even", "messages": [{"role": "user", "content": "hi"}]}


def sdks(key):
    """Each with its tries as they come: two more than one."""
    chat = openai.OpenAI(api_key=key, base_url=BASE_URL + "/v1")
    claude = anthropic.Anthropic(api_key=key, base_url=BASE_URL)
    return {
        "openai": lambda **more: chat.with_options(**more).chat.completions.with_raw_response.create(**ASKED),
        "anthropic": lambda **more: claude.with_options(**more).messages.with_raw_response.create(**ASKED, max_tokens=9),
    }


def refusal_of(ask, **more):
    """The refusal that an SDK ends with; None: there was none."""
    try:
        ask(**more)
    except (openai.RateLimitError, anthropic.RateLimitError) as error:
        return error.response.json()["error"]["message"]
    return None


told = {}
for name, ask in sdks(os.environ["SPENT_KEY"]).items():
    told[name] = {"spent": refusal_of(ask)}
for name, ask in sdks(os.environ["RPM_KEY"]).items():
    while refusal_of(ask, max_retries=0) is None:
        pass
    told[name]["retries"] = ask().retries_taken
print(json.dumps(told))
