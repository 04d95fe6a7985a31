"""Tokens that are known by their shape.

A table of our own, since no library serves: detect-secrets, the one for Python, has had no release since May 2024,
knows neither the newer tokens of GitHub nor those of npm, Google and the model servers, takes a commit's id for a
secret, and needs 0.2 s for 16 KiB. The shapes follow the rules of gitleaks (config/gitleaks.toml at
https://github.com/gitleaks/gitleaks) and what the makers say of their tokens. Only shapes with a mark of their own are
here, never "looks random": ids of commits, UUIDs and checksums must stay readable. No expression can be
made to read a character more than a bounded number of times, and each is only tried on text that holds its mark.
"""

from __future__ import annotations

import re
import string

# The start of a word, or what follows a newline that JSON wrote as two characters.
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
    (("AccountKey=",), r"AccountKey=[A-Za-z0-9+/]{80,90}={0,2}"),
    (("lin_api_",), r"lin_api_[A-Za-z0-9]{40}"),
    (("glc_", "glsa_"), _START + r"gl(?:c|sa)_[A-Za-z0-9+/_]{32,400}={0,2}"),
    (("sntry",), r"sntry[su]_[A-Za-z0-9+/=_]{60,400}"),
    (("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    # This product's own.
    (("ar_",), _START + r"ar_[\w-]{43}(?![\w-])"),
    # JSON Web Tokens, RFC 7519: two objects in base64 and a signature.
    (("eyJ",), _ALONE + r"eyJ[\w-]{14,8192}\.eyJ[\w-]{14,8192}\.[\w-]{10,8192}"),
    # A header of HTTP with what it authorizes by, RFC 7617 and RFC 6750.
    (
        ("uthorization",),
        r"(?i:authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?i:basic|bearer|token)\s{1,3}[\w.~+/=-]{16,8192}",
    ),
    # RFC 7468; without its end, all that may still be part of it, in quotes or with numbers of lines as well.
    (
        ("PRIVATE KEY",),
        rf"-----BEGIN {_LABEL}-----(?:[\sA-Za-z0-9+/=\\:,.>|→]|-(?!-))*(?:-----END {_LABEL}-----)?",
    ),
)
_TABLE = tuple((marks, re.compile(shape)) for marks, shape in _SHAPES)
_END_OF_KEY = re.compile(rf"-----END {_LABEL}-----")
_PARTS_OF_KEY = string.ascii_letters + string.digits + string.whitespace + "+/=\\>|→"


def without_shapes(text: str, replacement: str) -> str:
    """`text` with `replacement` in the place of everything that has the shape of a token."""
    for marks, shape in _TABLE:
        if any(mark in text for mark in marks):
            text = shape.sub(replacement, text)
    # The last lines of a longer text may begin amid a key.
    *before, last = _END_OF_KEY.split(text)
    return replacement.join([*(part.rstrip(_PARTS_OF_KEY) for part in before), last])
