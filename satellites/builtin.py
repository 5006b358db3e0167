"""The satellites that come with Orbit, in one list: not as entry points, so that a clone that was never installed
has them too. Only imports and the list live here."""

from __future__ import annotations

from typing import Final

from satellites.alerts.send_logs_to_new_relic import SendLogsToNewRelic
from satellites.alerts.send_pagerduty_alert import SendPagerdutyAlert
from satellites.batch.answers import BatchAnswers
from satellites.batch.pages import BatchPages
from satellites.documents.ocr import Ocr
from satellites.documents.parse_pdf_with_docling import ParsePdfWithDocling
from satellites.documents.validate_json import ValidateJson
from satellites.http.call_webhook import CallWebhook
from satellites.language.classify import Classify
from satellites.language.embed import Embed
from satellites.language.generate import Generate
from satellites.language.presets import PRESETS
from satellites.language.rerank import Rerank
from satellites.registry import SatelliteClass
from satellites.storage.delete_file_from_s3 import DeleteFileFromS3
from satellites.storage.get_files import GetFiles
from satellites.storage.get_files_from_s3 import GetFilesFromS3
from satellites.storage.move_file import MoveFile
from satellites.trial.echo import Echo
from satellites.trial.fail import Fail
from satellites.trial.sleep import Sleep

SATELLITES: Final[tuple[SatelliteClass, ...]] = (
    BatchAnswers,
    BatchPages,
    CallWebhook,
    Classify,
    DeleteFileFromS3,
    Echo,
    Embed,
    Fail,
    Generate,
    GetFiles,
    GetFilesFromS3,
    MoveFile,
    Ocr,
    ParsePdfWithDocling,
    Rerank,
    SendLogsToNewRelic,
    SendPagerdutyAlert,
    Sleep,
    ValidateJson,
    *PRESETS,
)
