"""Texts sorted into the classes of any classifier that the mesh knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from satellites.contract import Context, JsonObject
from satellites.language.texts import EncoderConfig, OverEncoder, TextsInput, count, cut, parts, wrong_model


class ClassifyConfig(EncoderConfig):
    top: int | None = Field(default=None, ge=1, description="Give the scores of that many labels; all, unless said.")
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Also give `labels`: those with at least this score, for models whose "
        "labels do not exclude one another.",
    )  # fmt: skip


class Classify(OverEncoder[ClassifyConfig, TextsInput]):
    """Output: for `text` the likeliest `label`, its `score` and `scores`, a mapping from labels to scores with the
    highest first; for `texts` a list of such objects under `results`, in their order. With `threshold` also `labels`.
    `truncated: true` where a text was cut to fit the model.

    A model that is no classifier fails permanently: a reranker as `wrong-model`, others as `invalid-generation`.
    """

    name = "satellite/orbit/classify"
    aliases = ("satellite/exospherehost/classify",)
    summary = "Sorts text into a model's classes"
    Config = ClassifyConfig
    Input = TextsInput

    async def run(self, config: ClassifyConfig, input: TextsInput, context: Context) -> list[JsonObject]:
        results: list[JsonObject] = []
        truncated = False
        for texts in parts(input.all):
            scored = await context.models.score(
                config.model, [(text, None) for text in texts], context_overflow=config.context_overflow
            )
            count(context, scored.input_tokens)
            if len(scored.labels) < 2:
                raise wrong_model(config.model, "a reranker", "a classifier")
            truncated = truncated or scored.truncated
            results += [_result(scored.labels, row, config) for row in scored.scores]
        return [cut(results[0] if input.text is not None else {"results": results}, truncated)]


def _result(labels: Sequence[str], row: Sequence[float], config: ClassifyConfig) -> JsonObject:
    ranked = sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])
    result: dict[str, Any] = {"label": ranked[0][0], "score": ranked[0][1], "scores": dict(ranked[: config.top])}
    if config.threshold is not None:
        result["labels"] = [label for label, score in ranked if score >= config.threshold]
    return result
