"""Tokens that are recognized by their shape.

The table is our own because no library fits: detect-secrets, the one for Python, has had no release since May 2024,
does not know the newer tokens of GitHub or those of npm, Google and the model servers, takes commit ids for secrets,
and needs 0.2 s for 16 KiB. The shapes follow the rules of gitleaks (config/gitleaks.toml at
https://github.com/gitleaks/gitleaks) and the documentation of the issuers. Every shape has a distinctive mark; there is
no rule for strings that look random, because commit ids, UUIDs and checksums must stay readable. Every expression reads
each character a bounded number of times, and is tried only on text that contains its mark.
"""

from __future__ import annotations

import re
import string

# The start of a word, or the position after an escape such as `\n`, which JSON writes as two characters.
_START = r"(?:(?<![A-Za-z0-9_])|(?<=\\[nrt]))"
_ALONE = r"(?:(?<![\w-])|(?<=\\[nrt]))"
_LABEL = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?"
_SHAPES: tuple[tuple[tuple[str, ...], str], ...] = (
    # https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
    (("ghs_",), _ALONE + r"ghs_\d{1,12}_eyJ[\w-]{10,1024}\.[\w-]{10,8192}\.[\w-]{10,1024}"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9_]{36,255}"),
    (("github_pat_",), r"github_pat_\w{50,255}"),
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    (("gl",), r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[\w.-]{20,300}"),
    (("GR1348941",), r"GR1348941[\w-]{20}"),
    (("AT",), _START + r"AT(?:ATT|BBT|CTT)3[\w=-]{32,255}"),
    (
        ("A3T", "AKIA", "ASIA", "ABIA", "ACCA"),
        _START + r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    ),
    (("ecret",), r"(?i:secret_?access_?key)[\"']?\s{0,3}[=:]{1,2}>?\s{0,3}[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"),
    (("xox", "xapp-"), r"(?:xox[abeoprs](?:\.xox[bp])?|xapp)-\d[A-Za-z0-9-]{9,255}"),
    (("hooks.slack.com",), r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,80}"),
    (("discord",), r"discord(?:app)?\.com/api/webhooks/\d{17,20}/[\w-]{60,80}"),
    # Anthropic, OpenRouter, OpenAI's newer and older keys.
    (("sk-ant-",), r"sk-ant-[\w-]{20,255}"),
    (("sk-or-",), r"sk-or-v\d-[0-9a-f]{64}"),
    (("sk-",), _START + r"sk-(?:proj|svcacct|admin|None)-[\w-]{20,255}"),
    (("sk-",), _START + r"sk-(?=[A-Za-z]{0,64}\d)[A-Za-z0-9]{32,64}(?![\w-])"),
    (("AIza",), r"AIza[\w-]{35}"),
    (("ya29.",), _START + r"ya29\.[\w.-]{20,512}"),
    (("GOCSPX-",), r"GOCSPX-[\w-]{28}"),
    (("gsk_",), _START + r"gsk_[A-Za-z0-9]{40,60}"),
    (("xai-",), _START + r"xai-[A-Za-z0-9]{70,90}"),
    (("pplx-",), _START + r"pplx-[A-Za-z0-9]{40,60}"),
    (("hf_",), _START + r"hf_[A-Za-z]{34}"),
    (("npm_",), r"npm_[A-Za-z0-9]{36}"),
    (("pypi-",), r"pypi-Ag[\w-]{40,1000}"),
    (("rubygems_",), r"rubygems_[a-f0-9]{48}"),
    (("dckr_",), r"dckr_(?:pat|oat)_[\w-]{20,100}"),
    (("sk_", "rk_"), _START + r"[sr]k_(?:test|live|prod)_[A-Za-z0-9]{10,255}"),
    (("whsec_",), r"whsec_[A-Za-z0-9+/=]{24,100}"),
    (("SG.",), _START + r"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    (("key-",), _START + r"key-[a-f0-9]{32}(?![\w-])"),
    (("shp",), r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    (("_v1_",), r"do[opr]_v1_[a-f0-9]{64}"),
    (("dapi",), _START + r"dapi[a-f0-9]{32}(?:-\d)?"),
    (("hv",), _START + r"hv[sbr]\.[\w-]{24,300}"),
    # A personal access token of Azure DevOps, with the mark that it has since 2024.
    (("AZDO",), _START + r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}(?![A-Za-z0-9])"),
    (("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{80,90}={0,2}"),
    (("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    (("glc_", "glsa_"), _START + r"gl(?:c|sa)_[A-Za-z0-9+/_]{32,400}={0,2}"),
    (("sntry",), r"sntry[su]_[A-Za-z0-9+/=_]{60,400}"),
    (("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    # Tokens of Agent Runners.
    (("ar_",), _START + r"ar_[\w-]{43}(?![\w-])"),
    # JSON Web Tokens, RFC 7519: two base64 objects and a signature.
    (("eyJ",), _ALONE + r"eyJ[\w-]{14,8192}\.eyJ[\w-]{14,8192}\.[\w-]{10,8192}"),
    # The HTTP Authorization header, RFC 7617 and RFC 6750.
    (
        ("uthorization",),
        r"(?i:authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?i:basic|bearer|token)\s{1,3}[\w.~+/=-]{16,8192}",
    ),
    # RFC 7468. If the end is missing, everything that may still be part of the key, even quoted or with line numbers.
    (
        ("PRIVATE KEY",),
        rf"-----BEGIN {_LABEL}-----(?:[\sA-Za-z0-9+/=\\:,.>|→]|-(?!-))*(?:-----END {_LABEL}-----)?",
    ),
)
_TABLE = tuple((mark, re.compile(shape)) for marks, shape in _SHAPES for mark in marks)
_END_OF_KEY = re.compile(rf"-----END {_LABEL}-----")
_PARTS_OF_KEY = string.ascii_letters + string.digits + string.whitespace + "+/=\\>|→"


def redact_shapes(text: str, replacement: str) -> str:
    """`text` with every token shape replaced by `replacement`."""
    # Most texts, such as the parts of a line of a log, have none of the marks. In this form that takes a microsecond.
    shapes = dict.fromkeys([shape for mark, shape in _TABLE if mark in text])
    if not shapes:
        return text
    for shape in shapes:
        text = shape.sub(replacement, text)
    # Text that was cut may begin in the middle of a key, so everything before an end of a key is removed, too.
    *before, last = _END_OF_KEY.split(text)
    return replacement.join([*(part.rstrip(_PARTS_OF_KEY) for part in before), last])
