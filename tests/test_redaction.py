"""Secrets are found in all their forms, and text that only looks random stays."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
import shutil
import string
import subprocess
import sys
import textwrap
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from app.redaction.secrets import Secrets

TOKEN = "a+token/of the=forge"
NOTHING = Secrets()


def some(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """As many characters as if somebody had drawn them, with a digit at the end."""
    return "".join(random.Random(count).choices(alphabet, k=count - 1)) + "7"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + "234567"
# No token stands here in one piece, or those who search repositories for tokens would find this file.
TOKENS = {
    "github": "ghp" + "_" + some(36),
    "github oauth": "gho" + "_" + some(36),
    "github app": "ghs" + "_" + some(36),
    "github app, newer": "ghs"
    + "_123456_"
    + ".".join([encoded({"alg": "RS256"}), encoded({"iss": "1234567"}), some(40)]),
    "github fine-grained": "github" + "_pat_" + some(22) + "_" + some(59),
    "gitlab": "glpat" + "-" + some(20),
    "gitlab, routable": "glpat" + "-" + some(30) + ".01." + some(9),
    "gitlab runner": "glrt" + "-" + some(20),
    "bitbucket": "ATBB" + "T3" + some(180),
    "azure devops": some(76) + "AZDO" + some(4),
    "aws": "AKIA" + some(15, UPPER) + "Q",
    "aws, for a while": "ASIA" + some(15, UPPER) + "Q",
    "aws secret": "aws_secret_access_key = " + some(40),
    "slack bot": "xoxb" + "-123456789012-123456789012-" + some(24),
    "slack app": "xapp" + "-1-A0123456789-1234567890-" + some(40),
    "slack hook": "https://hooks.slack.com" + "/services/T00000000/B00000000/" + some(24),
    "openai": "sk-" + "proj-" + some(48) + "_" + some(20),
    "openai, older": "sk-" + some(48),
    "anthropic": "sk-" + "ant-api03-" + some(93) + "AA",
    "openrouter": "sk-" + "or-v1-" + some(64, HEX),
    "google": "AIza" + some(35),
    "google oauth": "GOCSPX" + "-" + some(28),
    "npm": "npm" + "_" + some(36),
    "pypi": "pypi-" + "AgEIcHlwaS5vcmc" + some(80),
    "stripe": "sk" + "_live_" + some(24),
    "sendgrid": "SG" + "." + some(22) + "." + some(43),
    "hugging face": "hf" + "_" + "".join(random.Random(1).choices(string.ascii_letters, k=34)),
    "docker": "dckr" + "_pat_" + some(27),
    "digitalocean": "dop" + "_v1_" + some(64, HEX),
    "vault": "hvs" + "." + some(95),
    "shopify": "shpat" + "_" + some(32, HEX),
    "our own": "ar" + "_" + some(43),
    "json web token": ".".join([encoded({"alg": "HS256", "typ": "JWT"}), encoded({"sub": "1234567890"}), some(43)]),
    "header": "Authorization: Basic " + base64.b64encode(b"x-access-token:whatever").decode(),
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{some(64)}\n{some(64)}\n{some(30)}==\n-----END RSA PRIVATE KEY-----",
    "private key without an end": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{some(70)}\n{some(70)}",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_token_shapes_are_redacted(kind: str) -> None:
    secret = max(TOKENS[kind].replace("/", " ").split(), key=len)
    for around in ("{}", "It is {}, he said", "TOKEN={}\n", '{{"key": "{}"}}', "https://x:{}@example.org/"):
        found = NOTHING.redact(around.format(TOKENS[kind]))
        assert "[redacted]" in found and secret[8:] not in found and secret[-12:] not in found


@pytest.mark.parametrize("kind", TOKENS)
def test_a_token_is_found_in_json_in_text(kind: str) -> None:
    found = NOTHING.redact(json.dumps({"text": f"one\n{TOKENS[kind]}\ntwo"}))
    assert "[redacted]" in found and TOKENS[kind][-12:] not in found


def test_the_rest_of_a_key_with_a_missing_beginning_is_redacted() -> None:
    lines = [some(64) + "/" for _ in range(19)]
    tail = "\n".join(["[... 9 lines were left out]", *lines, "-----END RSA PRIVATE KEY-----", "done (all of it)"])
    assert NOTHING.redact(tail) == "[... 9 lines were left out][redacted]\ndone (all of it)"


@pytest.mark.parametrize("before", ["> ", "    12\t", "12→", "+", "-", "| "])
def test_a_key_in_a_quotation_a_listing_or_a_diff_is_redacted(before: str) -> None:
    lines = TOKENS["private key"].splitlines()
    found = NOTHING.redact("Look (here):\n" + "\n".join(before + line for line in lines) + "\n(end)")
    assert not [line for line in lines if line[:20] in found and not line.startswith("-----")]
    assert found.startswith("Look (here):") and found.endswith("(end)")


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha1(b"a").hexdigest(),
        hashlib.sha256(b"a").hexdigest(),
        f"commit {hashlib.sha1(b'b').hexdigest()}\nAuthor: Ada <ada@example.org>",
        str(uuid.UUID(int=2**127)),
        "index 3f786850e387550fdab836ed7e6dc881de23001b..89e6c98d92887913cadf06b2adb97f26cde4849b 100644",
        '"integrity": "sha512-' + base64.b64encode(hashlib.sha512(b"a").digest()).decode() + '"',
        "sha256:" + hashlib.sha256(b"b").hexdigest(),
        "npm_config_registry npm_lifecycle_event npm_package_dependencies_with_a_long_name",
        "div.sk-toggleable__content.sk-estimator-doc-link-with-a-long-name-0",
        "a task-list-of-a-well-known-kind-0123456789012345678901234567890",
        "risk-assessment-0123456789012345678901234567890123456789",
        "ghp_ and github_pat_ and glpat- and sk- and AKIA are prefixes",
        "car_parts_that_are_longer_than_forty_three_characters_in_all",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END CERTIFICATE-----",
        "authorization: see the chapter on tokens. Authorization is not authentication",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG0123456789abcdef ada@example.org",
        "eyJust kidding. eyJ is not a token.",
        "xoxo-love-and-kisses",
    ],
)
def test_other_text_stays_readable(text: str) -> None:
    assert NOTHING.redact(text) == text


def test_a_known_value_is_found_in_each_form() -> None:
    secrets = Secrets(TOKEN)
    pair = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    urls = [quote(TOKEN, safe=""), quote(TOKEN), quote_plus(TOKEN), quote_plus(TOKEN, safe="/")]
    lower = [re.sub("%..", lambda escape: escape[0].lower(), url) for url in urls]
    in_json = json.dumps(f'"{TOKEN}')[3:-1]
    for text in [TOKEN, *urls, *lower, in_json, in_json.replace("/", r"\/")]:
        assert secrets.redact(f"<{text}>") == "<[redacted]>", text
        assert secrets.are_in([f"<{text}>".encode()]), text
    assert "[redacted]" in secrets.redact(f"<{pair}>") and secrets.are_in([f"<{pair}>".encode()])


HEXADECIMAL = {
    "plain": lambda value: value.hex(),
    "upper case": lambda value: value.hex().upper(),
    "xxd -p": lambda value: "\n".join(textwrap.wrap(value.hex(), 60)),
    "xxd -p -u -c 16 in JSON": lambda value: "\\n".join(textwrap.wrap(value.hex().upper(), 32)),
}
ESCAPES = {
    "URL": lambda byte: f"%{byte:02x}",
    "URL in upper case": lambda byte: f"%{byte:02X}",
    "JSON": lambda byte: f"\\u{byte:04x}",
    "JSON in JSON": lambda byte: f"\\\\u{byte:04X}",
    "code": lambda byte: f"\\x{byte:02x}",
    "every second one": lambda byte: f"%{byte:02x}" if byte % 2 else chr(byte),
}


@pytest.mark.parametrize("kind", HEXADECIMAL)
@pytest.mark.parametrize("before", [0, 1, 7, 29])
def test_a_known_value_is_found_in_hexadecimal(kind: str, before: int) -> None:
    encode = HEXADECIMAL[kind]
    for value in (LONG, LONG[-8:]):
        secrets = Secrets(value)
        text = encode(b"?" * before + value.encode() + b"!")
        found = secrets.redact(f"({text})\n")
        left = found.replace("[redacted]", "").replace("\\n", "").replace("\n", "")
        # On lines of the value alone all is redacted; at most some characters of other bytes are redacted with it.
        assert "[redacted]" in found and len(left) <= 2 + 2 * before + 2
        assert secrets.are_in([text.encode()]) or "\\n" in text
        assert Secrets(some(32)).redact(text) == text


DUMPS = {
    "xxd": ["xxd"],
    "xxd, upper case": ["xxd", "-u"],
    "xxd, bytes": ["xxd", "-g1"],
    "xxd, narrow": ["xxd", "-c", "5"],
    "xxd, little-endian": ["xxd", "-e"],
    "xxd, for C": ["xxd", "-i"],
    "hexdump": ["hexdump"],
    "hexdump -C": ["hexdump", "-C"],
    "od": ["od"],
    "od -c": ["od", "-c"],
    "od -c, no offset": ["od", "-An", "-c"],
    "od -b": ["od", "-b"],
    "od -x": ["od", "-x"],
    "od -t x1z": ["od", "-A", "x", "-t", "x1z"],
    "od -t x4": ["od", "-t", "x4"],
    "od -t x1, no offset": ["od", "-An", "-t", "x1"],
    "od -t u1": ["od", "-t", "u1"],
    "colons": ["python3", "-c", "import sys; print('key is', sys.stdin.buffer.read().hex(':'), 'so')"],
    "spaces": ["python3", "-c", "import sys; print('key is', sys.stdin.buffer.read().hex(' '), 'so')"],
    "a list": ["python3", "-c", "import sys; print('key is', list(sys.stdin.buffer.read()), 'so')"],
}


@pytest.mark.parametrize("kind", DUMPS)
def test_a_known_value_is_found_in_dumps(kind: str) -> None:
    program, *arguments = DUMPS[kind]
    if shutil.which(program) is None:
        package = {"hexdump": "bsdextrautils", "od": "coreutils"}.get(program, program)
        pytest.skip(f"NOT TESTED: no {program}; install it with `apt-get install {package}`")
    swapped = kind in ("xxd, little-endian", "hexdump", "od", "od -x", "od -t x4")
    for before in (0, 4, 7, 29) if not swapped else (0, 4, 12, 28):
        content = b"?" * before + LONG[:40].encode() + b"! and what else is there"
        command = [sys.executable if program == "python3" else program, *arguments]
        dump = subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode()
        for value in (LONG[:40], LONG[:40][-20:] if not swapped else LONG[:40]):
            found = Secrets(value).redact(f"before\n{dump}after\n")
            assert "[redacted]" in found and found.startswith("before\n") and found.endswith("after\n")
            again = Secrets(value).redact(found)
            assert again == found and value[4:12] not in found, found
            assert Secrets(value).are_in([dump.encode()]) or kind == "od -c, no offset", dump
        in_json = json.dumps({"output": dump})
        assert Secrets(LONG[:40]).redact(in_json) != in_json
        assert Secrets(some(32)).redact(dump) == dump and not Secrets(some(32)).are_in([dump.encode()])


def test_a_line_of_a_dump_is_redacted_without_the_others() -> None:
    content = b"? " + LONG.encode() + b" !"
    lines = [content[at : at + 16].hex(" ") for at in range(0, len(content), 16)]
    for number, line in enumerate(lines[:-1]):
        assert Secrets(LONG).redact(f"{number:08x}  {line}  |{'x' * 16}|") == f"{number:08x}  [redacted]"


def test_an_id_or_a_time_beside_a_dump_does_not_hide_it() -> None:
    beside = "2026-11-30T15:55:58.175728Z 2026-11-30 15:55:58 0197c1de-0000-7000-8000-000000000001"
    for dump in (LONG.encode().hex(" "), LONG.encode().hex(":", 2), ",".join(map(str, LONG.encode()))):
        for text in (f"{beside} | {dump}", f"{dump} | {beside}", f"{beside}\n{dump}\n{beside}"):
            found = NOTHING.redact(text), Secrets(LONG).redact(text)
            assert found[0] == text and "[redacted]" in found[1] and dump[30:60] not in found[1]
    digits = "9876543210" * 4
    rows = textwrap.wrap(digits.encode().hex(), 12)
    like_times = "\n".join(
        f"2026-{a}-{b} {c}:{d}:{e}:{f}" for a, b, c, d, e, f in (textwrap.wrap(row, 2) for row in rows[:6])
    )
    like_ids = "\n".join(f"0197c1de-{row[:4]}-{row[4:8]}-{row[8:]}-000000000001" for row in rows)
    for text in (like_times, like_ids):
        assert "[redacted]" in Secrets(digits[:36]).redact(text), "they are none"


NARROW_DUMPS: dict[str, tuple[int, Callable[[int, bytes], str]]] = {
    "xxd -c8 -g8": (8, lambda at, data: f"{at:08x}: {data.hex()}  {'.' * 8}"),
    "od -tx1 -w1": (1, lambda at, data: f"{at:07o} {data.hex()}"),
    "od -tx2 -w2": (2, lambda at, data: f"{at:07o} {data[::-1].hex()}"),
    "od -tx4 -w4": (4, lambda at, data: f"{at:07o} {data[::-1].hex()}"),
    "od -tx8 -w8": (8, lambda at, data: f"{at:07o} {data[::-1].hex()}"),
    "od -c -w1": (1, lambda at, data: f"{at:07o}   {data.decode()}"),
    "od -An -c -w1": (1, lambda at, data: f"   {data.decode()}"),
    "x/gx of gdb, a word a line": (8, lambda at, data: f"0x{at + 2**30:x}:\t0x{data[::-1].hex()}"),
    "two words a line": (16, lambda at, data: data.hex(" ", 8)),
    "two words a line, and a time": (16, lambda at, data: f"{data.hex(' ', 8)} 2026-11-30T15:55:58Z"),
    "two words in quotes": (16, lambda at, data: f'"{data.hex(" ", 8)}"'),
    "two words behind a name": (16, lambda at, data: f"key={data.hex(':', 8)}"),
    "a list of two words": (16, lambda at, data: f"[0x{data[:8].hex()}, 0x{data[8:].hex()}]"),
}


@pytest.mark.parametrize("kind", NARROW_DUMPS)
def test_a_dump_of_two_columns_is_found_with_and_without_a_time_beside_it(kind: str) -> None:
    width, row = NARROW_DUMPS[kind]
    content = LONG[:48].encode()
    dump = "\n".join(row(at, content[at : at + width]) for at in range(0, len(content), width))
    for text in (dump, f"{dump}\n2026-11-30T15:55:58.175728Z", f"2026-11-30 15:55:58\n{dump}"):
        for written in (text, text.replace("\n", "\\n")):
            found = Secrets(LONG[:48]).redact(written)
            assert found.count("[redacted]") > dump.count("\n") and NOTHING.redact(written) == written, found


@pytest.mark.parametrize("kind", ESCAPES)
def test_a_known_value_is_found_with_escapes(kind: str) -> None:
    escape, secrets = ESCAPES[kind], Secrets(TOKEN)
    escaped = "".join(map(escape, TOKEN.encode()))
    text = f"é%41\\x41 {escaped} and {escaped}%"
    assert secrets.redact(text) == "é%41\\x41 [redacted] and [redacted]%"
    for cut in range(0, len(text), 3):
        assert secrets.are_in([text[:cut].encode(), text[cut:].encode()])
    assert Secrets(some(32)).redact(text) == text and not Secrets(some(32)).are_in([text.encode()])


def test_escapes_of_other_scripts_and_halves_of_them_are_understood() -> None:
    secrets = Secrets("Größe-ist-geheim")
    assert secrets.redact(r"Gr%C3%B6\u00dfe-ist-geheim \ud800") == r"[redacted] \ud800"
    assert secrets.redact("%é\\u12 \ud800 \\x4") == "%é\\u12 \ud800 \\x4"


def test_a_known_value_is_found_in_upper_and_lower_case() -> None:
    secrets = Secrets("Long-Enough-17")
    for text in ("LONG-ENOUGH-17", "long-enough-17", "%4cONG-ENOUGH-17"):
        assert secrets.redact(f"<{text}>") == "<[redacted]>" and secrets.are_in([text.encode()])
    for other in ("long-Enough-17", "LONG-ENOUGH-1"):
        assert secrets.redact(other) == other


@pytest.mark.parametrize("value", ["Long-Enough-17", "ends-in-zero-0", ":;,- \t, ;:-", "Größe, die geheim ist"])
def test_what_is_next_to_a_form_in_a_file_does_not_hide_it(value: str) -> None:
    data, secrets = value.encode(), Secrets(value)
    digits, digest = data.hex(), base64.b64encode(b"xy" + data + b"z").decode()
    forms = {value, value.upper(), value.lower(), digits, digits.upper(), digest, " ".join(digits), "\r\n".join(digest)}
    forms |= {data.hex(":"), ", ".join(f"0x{byte:02x}" for byte in data), ",".join(map(str, data))}
    wide = [value.encode("utf-16-le"), value.encode("utf-16-be")]
    for form in [*(each.encode() for each in forms), *wide]:
        for before, after in [("", ""), ("0x", ""), ("0X", "X"), ("x", "X"), ("-", ","), (" ", "\n")]:
            assert secrets.are_in([before.encode() + form + after.encode()]), (before, form, after)
    for form in ("lONG-eNOUGH-17", "Long--Enough-17", digits[:-1], "0x", "-,-", digest[:8]):
        assert not secrets.are_in([form.encode()]), form


@pytest.mark.parametrize("value", ["short", "7", "", "shorter"])
def test_values_that_are_too_short_are_found_in_no_form(value: str) -> None:
    secrets = Secrets(value)
    texts = [value.encode().hex(), value.upper(), "".join(f"%{byte:02x}" for byte in value.encode())]
    assert [secrets.redact(text) for text in texts] == texts and not secrets.are_in(text.encode() for text in texts)
    assert Secrets("shortish").redact("SHORTISH") == "SHORTISH", "a word in upper case may be just that"


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_value_is_found_in_the_base64_of_text_that_contains_it(before: int, encode: object) -> None:
    secrets = Secrets("??>>~~secret-value~~>>??")
    text = encode(b"x" * before + b"??>>~~secret-value~~>>?? and more").decode()  # type: ignore[operator]
    found = secrets.redact(text)
    assert "[redacted]" in found and len(found.replace("[redacted]", "")) < len(text) - 28
    assert secrets.are_in([text.encode()])


LONG = some(108)


@pytest.mark.parametrize("columns", [61, 64, 76])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\n    ", "\\n", "\\r\\n"])
def test_a_known_value_is_found_in_wrapped_base64(columns: int, line_end: str) -> None:
    lengths = (*range(8), 40, 41, 42, 56, 57, 58, 1000)
    for before, value in itertools.product(lengths, (LONG, LONG[-20:], LONG[-8:])):
        secrets = Secrets(value)
        plain = base64.b64encode(b"?" * before + value.encode() + b"\n").decode()
        lines = [plain[start : start + columns] for start in range(0, len(plain), columns)]
        found = secrets.redact(f"key:{line_end}{line_end.join(lines)}{line_end}done")
        assert "[redacted]" in found and found.startswith("key:") and found.endswith("done")
        # Of the value itself no more is left than the groups that it shares with what stands next to it.
        left = "".join(found.replace("[redacted]", "").replace(line_end, "").split())
        assert len(left) <= len("key:done") + len(plain) - len(value) * 4 // 3 + 6
        assert secrets.are_in([line_end.join(lines).encode()]) or not line_end.isspace()


@pytest.mark.parametrize("before", range(6))
def test_a_single_line_of_the_base64_of_a_known_value_is_redacted(before: int) -> None:
    text = base64.encodebytes(b"?" * before + LONG.encode()).decode()
    first, second = text.splitlines()
    secrets = Secrets(LONG)
    assert len(secrets.redact(first).replace("[redacted]", "")) <= before * 2
    assert len(secrets.redact(second).replace("[redacted]", "")) <= 6


def test_other_base64_stays_readable() -> None:
    text = "key:\n      \r\n\n" + base64.encodebytes(hashlib.sha512(b"a").digest() * 20).decode() + "    \n\\n    end"
    assert Secrets(LONG).redact(text) == text and not Secrets(LONG).are_in([text.encode()])


def test_the_base64_program_shows_no_secret_through_its_lines() -> None:
    done = subprocess.run(["base64"], input=LONG.encode() + b"\n", capture_output=True, check=True)
    assert Secrets(LONG).redact(done.stdout.decode()) == "[redacted]\n[redacted]Cg==\n"


def test_the_password_of_a_credential_with_a_user_is_a_secret_too() -> None:
    assert Secrets("ada:correct-horse").redact("correct-horse") == "[redacted]"


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "AWS_REGION", "ANTHROPIC_MODEL"])
def test_variables_with_public_names_are_not_secret(name: str) -> None:
    secrets = Secrets(None, {name: "https://models.example.org/v1"})
    assert secrets.redact("https://models.example.org/v1") == "https://models.example.org/v1"
    assert not secrets.are_in([b"https://models.example.org/v1"])


def test_a_password_in_a_url_is_secret() -> None:
    secrets = Secrets(None, {"DATABASE_URL": "postgresql://ada:correct-horse@db/shop"})
    assert secrets.redact("postgresql://ada:correct-horse@db/shop") == "postgresql://ada:[redacted]@db/shop"


def test_the_header_and_footer_of_a_key_are_not_secret() -> None:
    key = f"-----BEGIN KEY-----\n{some(60)}\n-----END KEY-----\n"
    secrets = Secrets(None, {"SIGNING_KEY": key})
    assert secrets.are_in([some(60).encode()]) and not secrets.are_in([b"-----BEGIN KEY-----"])


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_value_is_found_however_the_stream_is_split(coding: str) -> None:
    secrets = Secrets(TOKEN)
    data = f"before {TOKEN} after".encode(coding)
    for cut in range(len(data)):
        assert secrets.are_in([data[:cut], data[cut:]])
    assert secrets.are_in(data[place : place + 1] for place in range(len(data)))
    assert not secrets.are_in([data.replace("forge".encode(coding), "other".encode(coding))])


def test_a_stream_with_only_a_token_shape_holds_no_secret() -> None:
    assert not Secrets(TOKEN).are_in([TOKENS["github"].encode(), TOKENS["private key"].encode()])
    assert not NOTHING.are_in([b"x" * 1000, b""])


def test_memory_does_not_grow_with_the_size_of_a_stream() -> None:
    def stream() -> Iterator[bytes]:
        for number in range(100):
            yield number.to_bytes(2) * (1 << 17)

    tracemalloc.start()
    try:
        assert not Secrets(TOKEN, {"KEY": some(50)}).are_in(stream())
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


HOSTILE = ["eyJ", "eyJ-", "eyJaaaaaaaaaaaaaaaaaaaa-", "eyJ" + "a" * 20 + ".", "ghs_1_eyJ", "-ghs_1_eyJ", "gl", "hvs."]
HOSTILE += ["sk-", "-sk-a", "AKIA", "SG.", "xoxb-", "authorization: ", "authorization:basic ", "secret_access_key="]
HOSTILE += [
    "AccountKey=",
    "-----BEGIN ",
    "-----BEGIN RSA PRIVATE KEY-----",
    "-",
    "github_pat_",
    "ATATT3",
    "\\n",
    "\n",
    "aaaa\n",
    "??>>\n",
    " ",
    "/",
    "a",
    "%61",
    "\\u0061",
    "61",
    "61\n",
    "61 ",
    "61: ",
    "61 61 61 g",
    "00000010: 6161 6161  aa\n",
    "   a",
    "   a   \\\n",
    "   a\n",
    "a ",
    "2026-11-30T15:55:58Z ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_makes_it_slow(piece: str) -> None:
    text = (piece * 2**17)[: 2**17]
    start = time.thread_time()
    Secrets(TOKEN, {"KEY": LONG, "SAME": "a" * 1000}).redact(text)
    # It takes less than a twentieth of a second; an expression that goes back and forth takes a quarter of a minute.
    assert time.thread_time() - start < 2


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://ada:pass%2Fword%21@example.org", "pass/word!"),
        ("https://ada:pass%2Fword%21@example.org", "pass%2Fword%21"),
        ("https://user-token@example.org", "user-token"),
        ("https://user-token:x-oauth-basic@example.org", "user-token"),
        ("https://example.org/?a=b&key=query%2Btoken", "query+token"),
    ],
)
def test_secrets_in_a_url_are_known_encoded_and_decoded(url, secret):
    assert Secrets(environment={"MODEL_URL": url}).redact(f"is {secret} shown") == "is [redacted] shown"


@pytest.mark.parametrize("url", ["postgresql://is-open-@h/d?sslmode=is-open-", "https://h/?api-version=is-open-"])
def test_users_and_options_that_are_not_secret_stay(url):
    assert Secrets(environment={"MODEL_URL": url}).redact("is-open-") == "is-open-"
