"""Which well-known Python packages a program lacked: it could not be run, which says nothing of it.

What is asked for may need a framework that isn't installed here, and nothing can be: no other
attempt would do better. A module of another name is the program's own affair, and a fault. Pure.
Above: `tasks.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["lacking"]

_MISSING: Final = re.compile(r"No module named ['\"]?([A-Za-z_]\w*)")
_OTHERWISE_CALLED: Final[Mapping[str, str]] = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "flask_bcrypt": "flask-bcrypt",
    "flask_cors": "flask-cors",
    "flask_jwt_extended": "flask-jwt-extended",
    "flask_login": "flask-login",
    "flask_migrate": "flask-migrate",
    "flask_restful": "flask-restful",
    "flask_sqlalchemy": "flask-sqlalchemy",
    "flask_testing": "flask-testing",
    "flask_wtf": "flask-wtf",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "rest_framework": "djangorestframework",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "telegram": "python-telegram-bot",
    "yaml": "pyyaml",
}
"""Import names that aren't the distribution's."""
_AS_CALLED: Final = frozenset(
    """
    aiofiles aiohttp aiosqlite alembic altair anthropic anyio apscheduler arrow asyncpg
    attrs bcrypt bleach bokeh boto3 celery chardet click colorama cryptography dash dask
    discord django docx duckdb faker fastapi feedparser flask freezegun geopandas gradio
    gunicorn httpx hypothesis jinja2 joblib jsonschema keras langchain lxml markdown
    marshmallow matplotlib mock motor networkx nltk numpy openai openpyxl orjson pandas
    paramiko passlib peewee pendulum pika playwright plotly polars prettytable psutil
    psycopg pyarrow pydantic pygame pymongo pymysql pypdf pytest pytz quart redis reportlab
    requests responses rich sanic schedule scipy scrapy seaborn selenium simplejson spacy
    sqlalchemy sqlmodel starlette statsmodels streamlit sympy tabulate tenacity tensorflow
    textual torch tornado tqdm transformers twisted typer ujson uvicorn websockets werkzeug
    wtforms xlrd xlsxwriter xmltodict zmq
    """.split()  # noqa: SIM905 - as a list of strings it takes a page
)


def lacking(said: str) -> str:
    """Name the distribution of the well-known package that a program said it lacks; "" if none.

    Args:
        said: What it printed.
    """
    for name in _MISSING.findall(said):
        if found := _OTHERWISE_CALLED.get(name, name if name in _AS_CALLED else ""):
            return found
    return ""
