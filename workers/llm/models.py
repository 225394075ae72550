"""A model by its setting: `gemini-2.5-flash` or `google:…` with our keys, `PROVIDER:MODEL` with that provider's own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.providers.google import GoogleProvider

from workers.llm.advice import Advice
from workers.llm.errors import BadModel

GOOGLE = "google:"
# an answer that is no advice is asked for once more, of the same model
OUTPUT_RETRIES = 1


def keys_of(name: str, google_keys: Sequence[str]) -> tuple[str, ...]:
    """The keys a model may be asked with; other providers read theirs from the environment, as one."""
    return tuple(google_keys) if is_google(name) else ("",)


def is_google(name: str) -> bool:
    return ":" not in name or name.startswith(GOOGLE)


def open_agent(name: str, key: str, base_url: str) -> Agent[None, Advice]:
    """What asks model `name` for advice with one key. `base_url` stands in for Google's. Raises `BadModel`."""
    model: Model
    try:
        if not name.rpartition(":")[2]:
            raise ValueError("it names no model")
        if is_google(name):
            provider = GoogleProvider(api_key=key, base_url=base_url or None)
            model = GoogleModel(name.removeprefix(GOOGLE), provider=provider)
        else:
            model = infer_model(name)
    except (UserError, ImportError, ValueError) as error:
        raise BadModel(f"LLM_MODELS: {name!r} cannot be used ({error}); write google:MODEL or PROVIDER:MODEL") from None
    # the prompt is stored with its answer, not sent with every span
    seen = Instrumentation(InstrumentationSettings(include_content=False, include_model_request_parameters=False))
    with warnings.catch_warnings():
        # the form of the output is checked here, whatever the model's own profile promises
        warnings.simplefilter("ignore")
        return Agent(
            model, name="analyst", output_type=NativeOutput(Advice), retries=OUTPUT_RETRIES, capabilities=[seen]
        )
