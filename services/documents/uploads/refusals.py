"""Why a file is not taken. The upload keeps the code as its reason; whoever waits for the answer gets the error."""

from libs.common.errors import AppError, Unprocessable
from services.documents.people.rules import MemberGone
from services.documents.tenants.rules import FileTooLarge, TenantQuotaExceeded, UploaderQuotaExceeded
from services.documents.tenants.tables import Policy
from services.documents.uploads.content_types import is_of
from services.documents.uploads.inspection import Report
from services.documents.uploads.tables import Upload


class FileRefused(Unprocessable):
    title = "The file was not taken"


class EmptyFile(FileRefused):
    title = "The file is empty"


class SizeDiffers(FileRefused):
    title = "The file has another length than was announced"


class DigestDiffers(FileRefused):
    title = "The file has another SHA-256 than was announced: it was damaged on the way, or is not the one"


class TypeForbidden(FileRefused):
    title = "Files of this type are not taken here"


class HarmFound(FileRefused):
    title = "The virus scanner found something in the file"


class ArchiveBomb(FileRefused):
    title = "The archive unpacks to far more than it is, or cannot be looked into"


class TooLargeToScan(FileRefused):
    title = "The file is too large for the virus scanner"


class FileVanished(FileRefused):
    title = "The store does not have the file"


REFUSALS: tuple[type[AppError], ...] = (
    EmptyFile,
    SizeDiffers,
    DigestDiffers,
    TypeForbidden,
    HarmFound,
    ArchiveBomb,
    TooLargeToScan,
    FileVanished,
    FileTooLarge,
    UploaderQuotaExceeded,
    TenantQuotaExceeded,
    MemberGone,
)
_BY_CODE = {error.code(): error for error in REFUSALS}


def refusal(upload: Upload, report: Report | None, policy: Policy, *, bomb: bool) -> type[AppError] | None:
    """What speaks against the file. report None: the store has not got it."""
    if report is None:
        return FileVanished
    allowed = upload.only_types is None or is_of(report.content_type, upload.only_types)
    against: dict[type[AppError], bool] = {
        EmptyFile: report.size == 0,
        FileTooLarge: report.size > policy.max_file_bytes,
        SizeDiffers: upload.size is not None and report.size != upload.size,
        DigestDiffers: upload.sha256 is not None and report.sha256 != upload.sha256,
        TypeForbidden: not allowed or is_of(report.content_type, policy.forbidden_types),
        HarmFound: bool(report.harm),
        ArchiveBomb: bomb,
        TooLargeToScan: report.unscanned == "too_large_to_scan",
    }
    return next((error for error, holds in against.items() if holds), None)


def raise_if_refused(upload: Upload) -> None:
    """Raises what the upload was refused for, today or when it was asked for before."""
    if upload.state == "refused":
        raise _BY_CODE[upload.reason](upload_id=upload.id)
