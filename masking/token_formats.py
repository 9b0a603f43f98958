"""Find secrets by their format: service tokens, keys, hashes and URLs with credentials."""

import re
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple

from masking.literals import Lowercase, find_matches, literals
from masking.private_keys import find_private_keys
from masking.values import Span, has_digit_and_letter, is_placeholder

# The formats of tokens that start with a fixed prefix. To add a service, add a line; review all for
# each release. Last review: 2026-11-30, of the services' documentation, the default rules of
# gitleaks 8 and betterleaks 1, detect-secrets, and GitHub's list of patterns for secret scanning.
# Columns: the service, the characters after the prefix, how many there are, and the prefixes.
# "20:40" means 20 to 40, "20+" at least 20, and "22_59" means 22, an underscore and 59.
_TABLE = """
1password     upper  6-11-5-5-5     A3-
1password     upper  6-6-5-5-5-5    A3-
1password     base64 100+           ops_eyJ
adobe         lower  32             p8e-
age           upper  58             AGE-SECRET-KEY-1
aikido        alnum  20:64          AIK_SECRET_ AIK_CI_
airtable      alnum  14.64          pat
alibaba       alnum  12:24          LTAI
apify         alnum  30:50          apify_api_
artifactory   alnum  68:70          AKCp
artifactory   alnum  59             cmVmd
atlassian     word=  100+           ATATT3 ATCTT3
atlassian     alnum  24:40          ATBB
authress      word=  5:30.4:6.acc_10:32.30:120 sc_ ext_ scauth_ authress_
authress      word=  5:30.4:6.acc-10:32.30:120 sc_ ext_ scauth_ authress_
aws           any    16             AKIA ASIA ABIA ACCA
aws           base64 60+            ABSK bedrock-api-key-
axiom         hex    8-4-4-4-12     xaat- xapt-
azure         base64 20+            AccountKey= SharedAccessKey= accountkey=
bitcoin       alnum  107:112        xprv9
brave         word   24:40          BSA
braintree     lower  16$32          access_token$production$ access_token$sandbox$
buildkite     hex    40             bkua_
canva         word   51             cnvca
cerebras      lower  48             csk-
circleci      alnum  22_40          CCIPAT_ CCIPRJ_
clickhouse    alnum  38             4b1d
clickup       upper  7:9_32         pk_
clojars       lower  60             CLOJARS_
cloudflare    alnum  40:56          cfut_ cfat_ cfk_
cloudflare    hex    24-146         v1.0-
cockroach     alnum  22_40          CCDB1_
cognition     lower  52             cog_
cognition     base64 80:180         apk_ apk_user_
configcat     word   22/22          configcat-sdk-1/
confluent     base64 60             cflt
contentful    word   43             CFPAT-
crates        alnum  32             cio
cursor        hex    64             key_ crsr_
databricks    hex    32             dapi
databricks    hex    32-1           dapi
defined       word   70:90          dnkey-
deno          alnum  36             ddp_ ddo_
digitalocean  hex    64             dop_v1_ doo_v1_ dor_v1_
discord       word   17:20/50:90    discord.com/api/webhooks/ discordapp.com/api/webhooks/
docker        word   20+            dckr_pat_ dckr_oat_
doppler       dotted 40:80          dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.
docker        word   40+            SWMTKN-1-
dropbox       dotted 120+           sl.
duffel        word=  43             duffel_live_ duffel_test_
dynatrace     upper  24.64          dt0c01. dt0s01. dt0s02.
e2b           hex    40             e2b_
easypost      alnum  54             EZAK EZTK
elastic       word=  60:200         essu_
elevenlabs    hex    48             sk_
endor         word   16             endr+
exoscale      alnum  24:30          EXO
facebook      alnum  80+            EAA
figma         word   38:60          figd_
firecrawl     hex    32             fc-
fireworks     alnum  20:40          fw_
flutterwave   alnum  12:40          FLWSECK_TEST- FLWSECK-
flutterwave   alnum  32-X           FLWSECK_TEST- FLWSECK-
fly           word   43             fo1_
fly           base64 43+            fm2_ fm1r_ fm1a_
frameio       word=  64             fio-u-
github        alnum  30+            ghp_ gho_ ghu_ ghr_
github        dotted 30+            ghs_
github        word   22+            github_pat_
gitlab        dotted 18+            glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt-
gitlab        dotted 18+            glagent- glsoat- glffct- gloas- glwt-
gitlab        word   18+            GR1348941
gocardless    word=  40             live_ sandbox_
google        word   35             AIza
google        word   40:60          AQ.
google        word   20:40          GOCSPX-
google        dotted 20+            ya29.
google        word   30+            1//0
grafana       base64 32+            glc_ eyJrIjoi
grafana       alnum  32_8           glsa_
groq          alnum  30:80          gsk_
harness       word   22.24.20       pat. sat.
heroku        word   36:64          HRKU-
honeycomb     lower  50:60          hcaik_01 hcbik_01 hcxik_01
hubspot       hex    8-4-4-4-12     pat-na1- pat-na2- pat-eu1- pat-ap1-
huggingface   alnum  30:60          hf_ api_org_
infura        hex    32             infura.io/v3/
infracost     alnum  32             ico-
intra42       hex    64             s-s4t2ud- s-s4t2af-
jina          word   50:70          jina_
klaviyo       lower  34             pk_
laravel       base64 42:90          base64:
langsmith     hex    32_10          lsv2_pt_ lsv2_sk_
launchdarkly  hex    8-4-4-4-12     sdk- api-
linear        alnum  32:80          lin_api_ lin_oauth_
lob           hex    35             live_ test_
mailgun       hex    32             key-
mapbox        dotted 30+            sk.ey
matrix        base64 30+            syt_
modal         alnum  22             ak- as-
mongodb       word   40:48          mdb_sa_sk_
neon          lower  60:70          napi_
netlify       alnum  36:64          nfp_ nfc_ nfo_ nfu_
newrelic      word   19:36          NRAK- NRJS- NRII- NRIQ-
ngrok         alnum  26_21          1 2 3
notion        alnum  40:60          ntn_ secret_
npm           alnum  36             npm_
nuget         lower  43             oy2
nvidia        word   50:80          nvapi-
octopus       upper  24:32          API-
openai        word   18+            sk-
openshift     word   43             sha256~
perplexity    alnum  30:80          pplx-
pinecone      word   40+            pcsk_
plaid         hex    8-4-4-4-12     access-production- access-development- access-sandbox-
planetscale   dotted 32:64          pscale_tkn_ pscale_oauth_ pscale_pw_
posthog       word   40:60          phx_ phs_
postman       hex    24-34          PMAK-
prefect       alnum  36             pnu_ pnb_
pulumi        hex    40             pul-
pypi          word   50+            pypi-
readme        lower  60:80          rdme_
render        alnum  24:40          rnd_
replicate     alnum  30:60          r8_
resend        alnum  8_20:30        re_
rubygems      hex    48             rubygems_
scalingo      word   48             tk-us-
sendgrid      word   16:32.32:64    SG.
sendinblue    alnum  64-16          xkeysib- xsmtpsib-
sentry        base64 60+            sntrys_
sentry        hex    64             sntryu_ sntrya_
settlemint    alnum  16             sm_pat_ sm_aat_ sm_sat_
shippo        hex    40             shippo_live_ shippo_test_
shopify       hex    32             shpat_ shpca_ shppa_ shpss_
slack         dotted 10+            xoxb- xoxp- xoxa- xoxr- xoxs- xoxo- xoxe- xoxc- xoxe.
slack         base64 10+            xoxd-
slack         word   20+            xapp-
slack         path   20+            hooks.slack.com/services/ hooks.slack.com/workflows/
slack         path   20+            hooks.slack.com/triggers/
sonar         hex    40             squ_ sqp_ sqa_
sourcegraph   hex    40             sgp_ sgp_local_
sourcegraph   hex    16_40          sgp_
square        word   22:60          sq0atp- sq0csp- sq0idp-
square        word   60             EAAA
stripe        alnum  10+            sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_
stripe        alnum  10+            sk_org_live_ sk_org_test_
stripe        base64 20:128         whsec_
supabase      hex    40             sbp_
supabase      word   20:80          sb_secret_
tailscale     word   20+            tskey-
tavily        word   20:80          tvly-
teams         path   60+            .webhook.office.com/webhookb2/
telegram      word:  36:70          api.telegram.org/bot api.telegram.org/file/bot
together      word   40:50          tgp_v1_
twilio        hex    32             SK AC
twitch        lower  30             oauth:
typeform      dotted 40:80          tfp_
upcloud       alnum  24:32          ucat_
vault         word   20+            hvs. hvb. hvr.
vercel        word   24:60          vcp_ vci_ vca_ vcr_ vck_
voyage        word   43             pa-
wandb         word   40+            wandb_v1_
xai           word   40+            xai-
yandex        word   22:60          AQVN YCAJ YCM
"""
_CHARACTERS = {
    "alnum": "A-Za-z0-9",
    "any": "A-Z0-9",  # may be letters only, unlike the others
    "base64": "A-Za-z0-9+/%_-",  # standard, URL-safe or percent-encoded
    "dotted": "A-Za-z0-9_=-",  # with dots between them
    "hex": "0-9A-Fa-f",
    "lower": "a-z0-9",
    "path": "A-Za-z0-9+/_:@-",
    "upper": "A-Z0-9",
    "word": "A-Za-z0-9_-",
    "word=": "A-Za-z0-9_=-",
    "word:": "A-Za-z0-9_:-",
}
_LENGTH = re.compile(r"(?P<least>\d+)(?::(?P<most>\d+)|(?P<open>\+))?|(?P<literal>[^\d]+)")


class _Formats(NamedTuple):
    """The formats of all tokens with the same prefix."""

    pattern: re.Pattern[str]  # what follows the prefix
    characters: set[str]  # keys of _CHARACTERS


def _pattern(characters: str, lengths: str) -> str:
    """Return the pattern for what follows a prefix, from two columns of the table."""
    one = f"[{_CHARACTERS[characters]}]"
    if characters == "dotted":
        one = rf"(?:{one}|\.(?=[A-Za-z0-9_-]))"
    parts = [
        re.escape(part["literal"])
        if part["literal"]
        else f"{one}{{{part['least']},{'' if part['open'] else part['most'] or part['least']}}}+"
        for part in _LENGTH.finditer(lengths)
    ]
    padding = "=*+" if characters == "base64" else ""
    return "".join(parts) + rf"{padding}(?!{one}|[A-Za-z0-9])"


def _read_table() -> dict[str, _Formats]:
    rows: dict[str, list[tuple[str, str]]] = {}
    for line in _TABLE.strip().splitlines():
        _, characters, lengths, *prefixes = line.split()
        for prefix in prefixes:
            rows.setdefault(prefix, []).append((characters, lengths))
    return {
        prefix: _Formats(
            re.compile("|".join(_pattern(*row) for row in rows)), {row[0] for row in rows}
        )
        for prefix, rows in rows.items()
    }


_FORMATS = _read_table()
# Prefixes that stay visible: they are not secret, and they show what the token is for.
_PUBLIC = {prefix for prefix in _FORMATS if "/" in prefix or "=" in prefix}
# Prefixes that are too common to search for; their tokens are at least this long.
_SHORT_PREFIXES = {prefix for prefix in _FORMATS if len(prefix) < 3}
_SHORTEST_WITH_THESE = 34
# Other tokens that are parts of runs of fewer of these characters are not taken for tokens.
_SHORTEST_RUN = 18
_RUN_CHARACTERS = f"{string.ascii_letters}{string.digits}_.-"
_IN_ANY_TEXT = {
    prefix
    for prefix, formats in _FORMATS.items()
    if "base64" in formats.characters or not set(prefix) <= set(_RUN_CHARACTERS)
}
_BY_LOWERCASE: dict[str, list[str]] = {}
for _prefix in sorted(_FORMATS.keys() - _SHORT_PREFIXES):
    _BY_LOWERCASE.setdefault(_prefix.lower(), []).append(_prefix)
literals(*_BY_LOWERCASE)
_SHORT_PREFIX = re.compile(  # starts with a character class, for which `re` searches fast
    f"[{''.join(sorted(prefix[0] for prefix in _SHORT_PREFIXES))}]"
    r"(?:(?<![A-Za-z0-9].)|(?<=\\[nrtbf].))"
    f"(?:{'|'.join(f'(?<={prefix[0]}){prefix[1:]}' for prefix in sorted(_SHORT_PREFIXES))})"
    r"(?=[A-Za-z0-9]{26})"
)
_LONG_RUN = b"a" * _SHORTEST_WITH_THESE
_AS_RUNS = bytes(ord("a" if chr(byte) in _RUN_CHARACTERS else " ") for byte in range(256))
_ESCAPES = "nrtbf"
# Words and small numbers, as in "sk-fading-circle-12".
_PART = r"[0-9]{0,4}+(?:[A-Z]?[a-z]{2,}+|[A-Z]{2,}+)*+[A-Za-z]?[0-9]{0,4}+[A-Za-z]?"
_NAME = re.compile(rf"{_PART}(?:[-_.~/=:]++{_PART})*+")


def find_tokens(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield tokens in the formats of known services."""
    prefixes = sorted(
        (start, -len(prefix), prefix)
        for literal in lower.found.keys() & _BY_LOWERCASE.keys()
        for start in lower.starts(literal)
        for prefix in _BY_LOWERCASE[literal]
        if text.startswith(prefix, start)
    )
    done: dict[bool, int] = {True: 0, False: 0}
    for start, _, prefix in prefixes:
        is_in_any_text = prefix in _IN_ANY_TEXT
        if start < done[is_in_any_text] or not (is_in_any_text or _is_token_start(text, start)):
            continue
        rest = _match_after(text, start + len(prefix), prefix)
        done[is_in_any_text] = rest.end() if rest else start + len(prefix)
        if not rest or not _is_secret(rest, prefix):
            continue
        if is_in_any_text or _run_length(text, start, rest.end()) >= _SHORTEST_RUN:
            yield Span(rest.start() if prefix in _PUBLIC else start, rest.end())


def _run_length(text: str, start: int, end: int) -> int:
    """Return the length of the run of token characters around a token, up to a limit."""
    before = text[max(0, start - _SHORTEST_RUN) : start]
    after = text[end : end + _SHORTEST_RUN]
    outside = len(before.rstrip(_RUN_CHARACTERS)) + len(after.lstrip(_RUN_CHARACTERS))
    return len(before) + end - start + len(after) - outside


def find_tokens_in_long_runs(text: str, _: Lowercase) -> Iterator[Span]:
    """Yield tokens that only start with a digit, or letters that are common in words."""
    runs = text.encode("ascii", "replace").translate(_AS_RUNS)
    start = runs.find(_LONG_RUN)
    while start >= 0:
        end = runs.find(b" ", start)
        end = len(runs) if end < 0 else end
        for prefix in _SHORT_PREFIX.finditer(text, start, end):
            rest = _match_after(text, prefix.end(), prefix[0])
            if rest and _is_secret(rest, prefix[0]):
                yield Span(prefix.start(), rest.end())
        for match in _DISCORD.finditer(text, start, end):
            first = match.start() - _run_length_before(text, match.start(), _LETTERS)
            if match.start() - first in range(24, 29) and text[first] in "MNO":
                yield Span(first, match.end())
        start = runs.find(_LONG_RUN, end)


def _match_after(text: str, start: int, prefix: str) -> re.Match[str] | None:
    """Match the rest of a token whose prefix ends at `start`, if a token may start there."""
    is_start = prefix in _PUBLIC or _is_token_start(text, start - len(prefix))
    return _FORMATS[prefix].pattern.match(text, start) if is_start else None


def _is_secret(rest: re.Match[str], prefix: str) -> bool:
    """Return whether what follows a prefix is not a sample such as "xxxx" or a name of words."""
    body = rest[0]
    if body.endswith("EXAMPLE"):
        return False
    is_one_word = body.isupper() and body.isalnum()
    is_name = len(set(body)) < 6 or (not is_one_word and _NAME.fullmatch(body))
    return not is_name or "any" in _FORMATS[prefix].characters


def _is_token_start(text: str, start: int) -> bool:
    """Return whether a token may start here: at the start of a word or right after an escape."""
    if start == 0 or not text[start - 1].isalnum():
        return True
    return text[start - 1] in _ESCAPES and start > 1 and text[start - 2] == "\\"


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
_NEW = r"(?:(?<![A-Za-z0-9_-]eyJ)|(?<=\\[nrtbf]eyJ))"
_HASHES = "$1$ $5$ $6$ $7$ $y$ $gy$ $2$ $2a$ $2b$ $2x$ $2y$ $apr1$ $argon2i$ $argon2id$ $scrypt$"
# (kind, literals that start the pattern, pattern, characters expected before it, their number)
_MARKED_FORMATS = tuple(
    (literals(*markers.lower().split()), re.compile(pattern, re.ASCII), before, counts)
    for kind, markers, pattern, before, counts in (
        ("jwt", "eyJ", rf"eyJ{_NEW}(?<!pk\.eyJ)[\w-]{{8,}}+(?:\.eyJ[\w-]{{4,}}+(?:\.[\w-]*+)?"
         r"|\.[\w-]*+\.[\w-]{16,}+(?:\.[\w-]++){0,2}|(?=\Z)(?<=[\w-]{200}))", "", range(1)),
        ("telegram", ":AA", r":AA[\w-]{32,36}(?![\w-])", "0123456789", range(8, 13)),
        ("azure", "Q~", r"Q~(?<=\dQ~)[\w~.-]{31,34}(?![\w~-])", _LETTERS + "~.", range(4, 5)),
        ("terraform", ".atlasv1.", r"\.atlasv1\.[\w=-]{60,70}+", _LETTERS, range(14, 15)),
        ("azure", "AZDO", r"AZDO[A-Za-z0-9]{4}(?!\w)", _LETTERS, range(76, 77)),
        ("maxmind", "_mmk", r"_mmk(?<=_[A-Za-z0-9]{29}_mmk)(?!\w)", _LETTERS, range(36, 37)),
        ("private-key", "LS0tLS1CRUdJTi", r"LS0tLS1CRUdJTi(?!BDRVJU|BQVUJM)[A-Za-z0-9+/]{86,}+=*+",
         "", range(1)),
        ("mailchimp", "-us", r"-us\d{1,2}(?!\w)", "0123456789abcdef", range(32, 33)),
        ("hash", _HASHES, r"\$[a-z0-9]{1,8}\$[\w./$=,+-]{20,256}+", "", range(1)),
        ("hash", "pbkdf2_sha", r"pbkdf2_sha\d{1,3}\$\d++\$[^\s\"'\\]{20,200}+", "", range(1)),
        ("ldap", "SHA}", r"SHA\}[A-Za-z0-9+/=]{28,100}+", "{S", range(1, 3)),
    )
)  # fmt: skip
_MARKERS = frozenset(marker for markers, *_ in _MARKED_FORMATS for marker in markers)
_DISCORD = re.compile(r"\.[\w-]{6}\.[\w-]{27,40}(?![\w-])", re.ASCII)


def find_tokens_by_marker(text: str, lower: Lowercase) -> Iterator[Span]:
    """Yield secrets recognized by a literal marker, which may be in the middle of the secret."""
    if not lower.has(_MARKERS):
        return
    for markers, pattern, before, counts in _MARKED_FORMATS:
        for match in find_matches(pattern, text, lower.starts(*markers)):
            start = match.start() - _run_length_before(text, match.start(), before)
            if match.start() - start in counts:
                yield Span(start, match.end())


def _run_length_before(text: str, end: int, characters: str) -> int:
    """Count the consecutive `characters` right before a position, ignoring an escape's letter."""
    if not characters:
        return 0
    start = max(0, end - 80)
    run = text[start:end]
    rest = run.rstrip(characters)
    count = len(run) - len(rest)
    return count - 1 if rest[-1:] == "\\" and run[len(rest) : len(rest) + 1] in _ESCAPES else count


_SAMPLE = re.compile(
    r"(?i)key|pass(?:word|wd)?|pwd|secret|token|user(?:name)?|(?:access|secret)_key"
)
_SENTRY = re.compile(r"[0-9a-f]{32}@[\w.-]{1,128}+/\d")  # a public key
_URL_CREDENTIALS = re.compile(
    r"://(?:(?!\d{1,5}[/?#])(?P<user>[^\s\"'<>\\/:`]{0,128}+):"
    r"(?P<password>[^\s\"'<>\\/`]{1,512})"
    r"|(?P<token>[A-Za-z0-9_.~-]{20,512}+))@(?=[\w\[.$({%-])"
)


def find_url_credentials(text: str, _: Lowercase) -> Iterator[Span]:
    """Yield passwords and tokens in URLs."""
    for match in _URL_CREDENTIALS.finditer(text):
        part = "token" if match["token"] else "password"
        value = match[part]
        if part == "token" and (
            not has_digit_and_letter(value) or _SENTRY.match(text, match.start("token"))
        ):
            continue
        if part == "password" and (len(value) == 1 or _SAMPLE.fullmatch(value)):
            continue
        if not is_placeholder(value) and not value.startswith(("$", "{", "%")):
            yield Span(*match.span(part))


# (literal that the lowercased text must contain, function that finds the secrets)
TOKEN_FINDERS: tuple[tuple[str, Callable[[str, Lowercase], Iterator[Span]]], ...] = (
    ("", find_tokens),
    ("", find_tokens_in_long_runs),
    ("", find_tokens_by_marker),
    ("://", find_url_credentials),
    ("private key", lambda text, _: find_private_keys(text)),
)
