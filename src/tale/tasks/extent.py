"""Does a request need a plan, or is it done in one go? Pure, at once, and asks no model.

What was weighed: what is to be made (a system or one function), whether it is to be whole, how many
components and orders are named. A plan costs the model a minute, and one part of a small request
has nothing to wait for; so in doubt there is none. The words are those of English, with the
commonest of German, Spanish, French, Portuguese and Chinese. Above: `tasks.judging`. Below:
`models.assess`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tale.models.assess import Assessment, assess

__all__ = ["Extent", "extent_of"]

_LOOKED_AT: Final = 4_000
"""Characters: what is asked for is said in these, what follows is material."""
_LARGE: Final = 2.0
"""Score from which there is a plan. All weights were set by hand on one half of the requests of
`tests/data/plan_or_not.jsonl`."""

_HEADS: Final[Mapping[float, str]] = {
    2.0: (
        "app application applications apps website websites webapp site platform system systems "
        "service services microservices pipeline shop store marketplace backend frontend product "
        "stack engine portal crm erp cms warehouse network clone monorepo codebase repository "
        "compiler interpreter kernel simulator suite infrastructure campaign guide manual handbook "
        "course book kit wiki saas monolith ecosystem workflow_application tracker planner client "
        "webanwendung anwendung plattform onlineshop webseite lagerverwaltungssystem webshop "
        "aplicación plataforma sistema sitio aplicativo site plateforme application système "
        "boutique"
    ),
    1.0: (
        "api bot dashboard game project server package framework library blog forum wiki cli "
        "editor extension tool data checker projekt spiel juego jeu proyecto projet"
    ),
    -3.0: (
        "function functions class classes script regex regexp expression query method decorator "
        "module test tests dockerfile makefile gitignore readme haiku poem email e-mail letter "
        "summary sentence sentences paragraph joke story post page schema snippet file line lines "
        "name bug flag parser password chart plot essay article loop macro query list template "
        "funktion skript función fonction função script módulo clase classe klasse texto texte"
    ),
}
"""What is made, by its last word: large things, things of any size, small ones."""
_HEAD: Final = {word: weight for weight, words in _HEADS.items() for word in words.split()}
_PHRASES: Final = (
    (re.compile(r"\bcode base\b"), "codebase"),
    (re.compile(r"\bweb ?(?:app|application|site)\b"), "website"),
    (re.compile(r"\bopen source project\b"), "product"),
    (re.compile(r"\b(?:learning|software|research) project\b"), "product"),
    (re.compile(r"\bback[ -]end\b"), "backend"),
    (re.compile(r"\bfront[ -]end\b"), "frontend"),
    (re.compile(r"\bci ?/ ?cd\b"), "ci"),
    (re.compile(r"\bcommand[ -]line\b"), "cli"),
)
_WHOLE: Final = re.compile(
    r"\b(?:complete|whole|entire|full|full[- ]stack|full[- ]fledged|end[- ]to[- ]end|from scratch"
    r"|comprehensive|production[- ]ready|all modules|every module|vollständige[nsr]?"
    r"|komplette[nsr]?|gesamte[nsr]?|complet[oa]s?|enter[oa]|complète?s?|entière?s?|inteir[oa])\b|完整|整个"
)
_SMALL: Final = re.compile(
    r"\b(?:simple|small|short|tiny|minimal|basic|quick|single|one[- ]line|little|toy"
    r"|einfache[nsr]?|kleine[nsr]?|kurze[nsr]?|sencill[oa]|pequeñ[oa]|simples|petite?)\b|简单"
)
_ZH_LARGE: Final = re.compile("网站|系统|平台|应用|后台")
_ZH_SMALL: Final = re.compile("函数|脚本|翻译|解释")

_COMPONENTS: Final[Mapping[str, str]] = {
    "accounts": r"accounts?|users?|members|profiles?|benutzer\w*|usuarios?|usuários|comptes?|用户",
    "admin area": r"admin\w*|back ?office|moderation|后台",
    "API": r"(?:rest )?apis?|rest-api|endpoints?|graphql|openapi|handlers|接口",
    "authentication": r"auth\w*|log ?in|oauth|permissions?|roles?|sign ?up|access|benutzeranmeldung"
    r"|benutzerrechte\w*|autenticación|autenticação|authentification|登录",
    "back end": r"backend|server|servers|background jobs|workers?",
    "calendar": r"calendar|bookings?|schedules?|reminders?|calendário",
    "charts": r"charts?|graphs?|plots?|visuali[sz]\w+|statistics",
    "CI": r"ci|coverage|linting|release \w+|workflow",
    "client": r"client|clients|cli",
    "comments": r"comments?|likes?|messages?|messaging|chat|comentarios|commentaires|kommentare",
    "dashboard": r"dashboards?|scoreboard|high score\w*|rankings?",
    "data import": r"imports?|importer|ingestion|extraction|scraper|crawler|downloads?|sync",
    "database": r"databases?|db|sqlite|postgres\w*|mysql|mongodb|datenbank|base de datos"
    r"|base de données|banco de dados|persistence|storage|schema|数据库",
    "deployment": r"deploy\w*|docker\w*|kubernetes|staging|containers?|déploiement",
    "documentation": r"docs|documentation|readme|guides?|manual|tutorial|reference|glossary"
    r"|dokumentation|documentación|introduction|examples",
    "export": r"exports?|pdf|rss\w*",
    "front end": r"frontend|uis?|web ?pages?|web interface|react|vue|angular|start page|menus?"
    r"|interfaz|home page|gallery|levels|player",
    "index": r"index\w*|ranking|inverted index",
    "migrations": r"migrations?|migrate",
    "model": r"model|models|training|classifier|predictions?|forecasts?|recommendations?|pricing",
    "monitoring": r"monitoring|metrics|alerts?|alertas|logging|audit log|logs|analytics",
    "notifications": r"notifications?|newsletters?|press release|sms|e-?mails?",
    "payments": r"payments?|checkout|cart|orders?|billing|subscriptions?|invoices?|tickets?"
    r"|bezahlung|warenkorb|pagamentos",
    "products": r"products?|catalogue|catalog|inventory|bestand|produktkatalog|albums?",
    "reports": r"reports?|reporting|recommendations|berichte\w*|informes|write-?up|risk report",
    "search": r"search|filters?|tags|tagging|full text search|matchmaking|lobby",
    "tests": r"tests?|test suite|benchmarks?|evaluation",
    "uploads": r"uploads?|attachments?|images|photos?|gallery",
}
_COMPONENT: Final = tuple(
    (name, re.compile(rf"(?<!\w)(?:{words})(?!\w)" if words.isascii() else rf"(?:{words})"))
    for name, words in _COMPONENTS.items()
)
_VERBS: Final = re.compile(
    r"(?:^|[,.;:]\s+(?:and |then |finally )?|\band |\bthen |\bfinally )"
    r"(?:please )?(add|analy[sz]e|audit|build|clean|compare|compute|create|deploy|design|develop"
    r"|document|download|draw|engineer|explore|find|fix|implement|make|migrate|plan|port|prepare"
    r"|produce|publish|refactor|review|set up|store|test|train|update|upgrade|write)\b",
    re.MULTILINE,
)
_ITEMS: Final = re.compile(
    r"(?:[,:]|\band|\bwith|\bincluding|,\s*and)\s+(?:an? |the |two |three |four |five |several )\w",
)
_LISTED: Final = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+\S", re.MULTILINE)
_NUMBERED: Final = re.compile(r"(?:^|\s)\d[.)]\s+[A-Z]")
_CLAUSE: Final = re.compile(
    r"\s+(?:for|that|which|with|of|to|in|from|into|on|at|over|by|using|as|where|who|and|so|including"
    r"|für|mit|die|der|das|con|que|para|avec|qui|pour|com|de|d')\s+|[.,:;!?()\n]|\s[-\u2013\u2014]\s"
)
_NAMED: Final = re.compile(r"\b(?:an?|the|this) (?:\w+ )?(class|function|method|module) \w+$")
"""A small thing with its name behind it: "a class Stack"."""
_ASKS: Final = re.compile(
    r"(?:what|why|how|which|who|when|where|is|are|do|does|did|explain|describe|tell me)\b"
)
_MAKES: Final = re.compile(r"(?:please )?(?:build|create|design|develop|implement|make|set up)\b")
_WORD: Final = re.compile(r"[^\W\d_][\w'-]*")
_QUOTED: Final = re.compile(r'"""(?:.*?)(?:"""|\Z)', re.DOTALL)
"""A docstring, or material: what it lists are rules for one thing, not things."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a request is.

    Attributes:
        large: Whether it is to be planned.
        score: What was weighed; from 2 on it is large.
        reason: Why, in words.
    """

    large: bool
    score: float
    reason: str


def extent_of(text: str, found: Assessment | None = None) -> Extent:
    """Say whether a request needs a plan. Total: any text gives an extent.

    Args:
        text: The request.
        found: What the router's rules made of it, where that is known already.
    """
    begins = text[:200].strip().lower()
    found = found or assess(text)
    talk = found.kind in {"talk", "question"} and not found.work
    if _ASKS.match(begins) or (talk and not _MAKES.match(begins)):
        return Extent(large=False, score=0.0, reason="nothing is to be made")
    return _extent(_QUOTED.sub(" ", text.strip()[:_LOOKED_AT]).strip())


@lru_cache(maxsize=64)
def _extent(text: str) -> Extent:
    plain = text.lower()
    for pattern, word in _PHRASES:
        plain = pattern.sub(word, plain)
    thing, head, clause = _made(plain)
    named = [name for name, pattern in _COMPONENT if pattern.search(plain)]
    orders = len(set(_VERBS.findall(plain)))
    listed = max(len(_LISTED.findall(text)), len(_NUMBERED.findall(text)))
    whole = _WHOLE.search(plain)
    if listed >= 3:  # of a list it is that of its first point
        head = max(head, 0.0)
    score = head + 0.45 * max(0, min(len(named), 6) - 1)
    score += 1.5 if whole else 0.0
    score -= 1.5 if _SMALL.search(clause) else 0.0
    score += 1.0 if len(_ITEMS.findall(plain)) >= 3 else 0.0
    score += 0.75 if plain.count(",") >= 3 else 0.0
    score += 2.0 if orders >= 4 else 1.0 if orders == 3 else 0.0
    score += 3.0 if listed >= 3 else 0.0
    return Extent(score >= _LARGE, round(score, 2), _reason(thing, named, whole, listed, orders))


def _made(text: str) -> tuple[str, float, str]:
    """Find what is to be made in the first clauses, how large such a thing is, and the clause."""
    if _ZH_SMALL.search(text):
        return "", -3.0, text
    if _ZH_LARGE.search(text):
        return "", 2.0, text
    clauses = _CLAUSE.split(text)[:4]
    for clause in clauses:
        if named := _NAMED.search(clause):
            return named[1], _HEAD[named[1]], clause
        for word in reversed(_WORD.findall(clause)):
            if word in _HEAD:
                return word, _HEAD[word], clause
    return "", 0.0, clauses[0]


def _reason(
    thing: str, named: list[str], whole: re.Match[str] | None, listed: int, orders: int
) -> str:
    told: list[str] = []
    if thing and _HEAD[thing] > 0:
        article = "an" if thing[0] in "aeiou" else "a"
        told.append(f"a whole {thing}" if whole else f"{article} {thing}")
    elif whole:
        told.append("it is to be complete")
    if len(named) > 1:
        told.append(f"{len(named)} components are named ({', '.join(named[:3])})")
    if listed >= 3:
        told.append(f"{listed} things are listed")
    elif orders >= 3:
        told.append(f"{orders} things are to be done")
    return ", ".join(told) or "one thing is asked for"
