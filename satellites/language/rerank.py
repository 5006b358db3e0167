"""Documents put in the order of what they have to say on a question, by any reranker that the mesh knows."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from satellites.contract import Context, JsonObject, PermanentError, SatelliteInput
from satellites.fields import as_text
from satellites.language.texts import EncoderConfig, OverEncoder, count, cut, parts, wrong_model


class RerankConfig(EncoderConfig):
    top: int | None = Field(default=None, ge=1, description="Keep that many of the best; all, unless said.")
    min_score: float | None = Field(default=None, description="Leave out what scores less. The scale is the model's.")
    text_key: str = Field(
        default="text", min_length=1, description="Where the text of a document that is an object stands."
    )


class RerankInput(SatelliteInput):
    query: Annotated[str, BeforeValidator(as_text)] = Field(min_length=1, description="What the documents are asked.")
    documents: tuple[str | dict[str, Any], ...] = Field(description="Texts, or objects that hold one.")

    @field_validator("documents", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [as_text(each) for each in value] if isinstance(value, list) else value


class Rerank(OverEncoder[RerankConfig, RerankInput]):
    """Output: `results`, the best first: for each document its `index` in the input, its `score`, and the `document`
    as it came. `truncated: true` where a document was cut to fit the model.

    A document that is an object without text fails permanently as `no-text`, a model that is no reranker as
    `wrong-model` or `invalid-generation`.
    """

    name = "satellite/orbit/rerank"
    aliases = ("satellite/exospherehost/rerank",)
    summary = "Orders documents by what they say on a question"
    Config = RerankConfig
    Input = RerankInput

    async def run(self, config: RerankConfig, input: RerankInput, context: Context) -> list[JsonObject]:
        texts = [_text(document, index, config.text_key) for index, document in enumerate(input.documents)]
        scores: list[float] = []
        truncated = False
        for some in parts(texts):
            scored = await context.models.score(
                config.model, [(input.query, text) for text in some], context_overflow=config.context_overflow
            )
            count(context, scored.input_tokens)
            if len(scored.labels) != 1:
                raise wrong_model(config.model, "a classifier", "a reranker")
            truncated = truncated or scored.truncated
            scores += [row[0] for row in scored.scores]
        ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
        kept = [pair for pair in ranked if config.min_score is None or pair[1] >= config.min_score][: config.top]
        results = [{"index": index, "score": score, "document": input.documents[index]} for index, score in kept]
        return [cut({"results": results}, truncated)]


def _text(document: str | dict[str, Any], index: int, key: str) -> str:
    if isinstance(document, str):
        return document
    text = as_text(document.get(key))
    if not isinstance(text, str):
        raise PermanentError(f"document {index} has no text under {key!r}", code="no-text")
    return text
