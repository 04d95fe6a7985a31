"""Artifacts in an S3 bucket, or on a server with a compatible API. boto3 finds the credentials in its usual ways."""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
from boto3.exceptions import S3UploadFailedError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody
from urllib3.exceptions import HTTPError

from app.artifacts.base import CHUNK, Stored, StoreUnavailable, started
from app.artifacts.signed_urls import OwnUrls, SignedUrl
from app.errors import TooLarge

_MISSING = {"404", "NoSuchKey", "NotFound"}


class S3Store:
    """Objects in one bucket. Signed URLs lead to the bucket itself (Signature Version 4, query string), except those of
    which the bucket cannot check everything: uploads of any size up to a limit, and deletions of files that are not
    used. They lead to the API."""

    def __init__(
        self, bucket: str, endpoint_url: str | None, region: str | None, *, path_style: bool, public_url: str
    ) -> None:
        self.bucket = bucket
        self.urls = OwnUrls(public_url)
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url or None,
            region_name=region or None,
            config=Config(
                signature_version="s3v4",
                connect_timeout=5,
                read_timeout=60,
                retries={"mode": "standard", "max_attempts": 4},
                s3={"addressing_style": "path" if path_style else "auto"},
                # Many compatible servers reject the newer default checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def put(self, key: str, chunks: Iterable[bytes], *, limit: int | None = None) -> int:
        source = _Readable(chunks, limit)
        # An interrupted multipart upload is aborted, so the key never has partial content.
        with _unavailable_on_error():
            self._client.upload_fileobj(source, self.bucket, key)
        return source.size

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        last = "" if end is None else end - 1
        part = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
        try:
            with _unavailable_on_error():
                body = self._client.get_object(Bucket=self.bucket, Key=key, **part)["Body"]
        except ClientError as error:
            raise _missing(error, key) from None
        return started(_chunks(body))

    def stat(self, key: str) -> Stored | None:
        try:
            with _unavailable_on_error():
                found = self._client.head_object(Bucket=self.bucket, Key=key)
            return Stored(found["ContentLength"], found["LastModified"])
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise

    def list(self, prefix: str) -> Iterator[tuple[str, Stored]]:
        with _unavailable_on_error():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield found["Key"], Stored(found["Size"], found["LastModified"])

    def delete(self, key: str) -> None:
        with _unavailable_on_error():
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def signed_put(self, key: str, content_type: str, *, length: int | None, limit: int, seconds: int) -> SignedUrl:
        if length is None:
            return self.urls.put(key, content_type, length=None, limit=limit, seconds=seconds)
        headers = {"Content-Type": content_type, "Content-Length": str(length)}
        bound = {"ContentType": content_type, "ContentLength": length}
        return self._signed("put_object", key, bound, headers, seconds)

    def signed_get(self, key: str, *, seconds: int) -> SignedUrl:
        # A browser saves the file, and never runs it as a page of the bucket's address.
        return self._signed("get_object", key, {"ResponseContentDisposition": "attachment"}, {}, seconds)

    def signed_delete(self, key: str, *, seconds: int) -> SignedUrl:
        return self.urls.delete(key, seconds=seconds)

    def _signed(self, method: str, key: str, bound: dict[str, Any], headers: dict[str, str], seconds: int) -> SignedUrl:
        expires_at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        parameters = {"Bucket": self.bucket, "Key": key, **bound}
        url = self._client.generate_presigned_url(method, Params=parameters, ExpiresIn=seconds)
        return SignedUrl(url, headers, expires_at)


class _Readable(io.RawIOBase):
    """Chunks as a file object for boto3. Counts the bytes."""

    def __init__(self, chunks: Iterable[bytes], limit: int | None) -> None:
        self._chunks, self._limit, self._rest = iter(chunks), limit, b""
        self.size = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [self._rest], size - len(self._rest)
        while size < 0 or wanted > 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self.size += len(chunk)
            if self._limit is not None and self.size > self._limit:
                raise TooLarge(f"The content has more than {self._limit} bytes, which is the limit. Send less.")
            parts.append(chunk)
            wanted -= len(chunk)
        content = b"".join(parts)
        taken = len(content) if size < 0 else size
        self._rest = content[taken:]
        return content[:taken]


def _chunks(body: StreamingBody) -> Iterator[bytes]:
    with contextlib.closing(body), _unavailable_on_error():
        yield b""
        yield from body.iter_chunks(CHUNK)


@contextlib.contextmanager
def _unavailable_on_error() -> Iterator[None]:
    """Raise `StoreUnavailable` if the server is unreachable, breaks the connection or refuses a request.

    Only the error for a missing key is permanent. The others are about credentials, clocks and load. urllib3 itself
    raises for some interrupted bodies, such as one without the end of TLS, which botocore does not translate.
    """
    try:
        yield
    except (BotoCoreError, S3UploadFailedError, HTTPError) as error:
        raise StoreUnavailable(str(error)) from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            raise
        raise StoreUnavailable(str(error)) from error


def _missing(error: ClientError, key: str) -> Exception:
    return FileNotFoundError(key) if error.response["Error"]["Code"] in _MISSING else error
