"""Deletes one object of a bucket."""

from __future__ import annotations

from pydantic import Field

from satellites.contract import Context, JsonObject, Resources, Satellite, SatelliteConfig, SatelliteInput
from satellites.storage.s3 import Bucket, Location


class DeleteFileFromS3Config(SatelliteConfig):
    bucket: str = Field(min_length=1)
    file_path: str = Field(min_length=1, description="The object's key.")
    endpoint_url: str | None = Field(default=None, description="Of what speaks like S3; without it, AWS.")
    region: str | None = None


class DeleteFileFromS3Input(SatelliteInput):
    """Nothing of its parent's object."""


class DeleteFileFromS3(Satellite[DeleteFileFromS3Config, DeleteFileFromS3Input]):
    """Output: `file-path` and `file-uri` of what is no longer there. That it was not there before is success too."""

    name = "satellite/exospherehost/delete-file-from-s3"
    aliases = ("satellite/orbit/delete-file-from-s3",)
    summary = "Deletes an object of an S3 bucket"
    Config = DeleteFileFromS3Config
    Input = DeleteFileFromS3Input
    resources = Resources(cpu=0.25, memory_bytes=256 * 1024 * 1024)
    timeout_s = 120.0
    required_secrets = ("AWS_ACCESS_KEY", "AWS_SECRET_KEY")
    effects = "outside"
    typical_s = 0.5

    async def run(
        self, config: DeleteFileFromS3Config, input: DeleteFileFromS3Input, context: Context
    ) -> list[JsonObject]:
        location = Location.of(
            config.bucket, endpoint_url=config.endpoint_url, region=config.region, secrets=context.secrets
        )
        bucket = await Bucket.open(location, context)
        await bucket.delete(config.file_path)
        return [{"file-path": config.file_path, "file-uri": location.uri(config.file_path)}]
