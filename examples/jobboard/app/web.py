"""The web part: the page, the JSON API, and what each part says about itself."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask, Response, jsonify, redirect, render_template, request, url_for
from redis.exceptions import RedisError
from werkzeug.wrappers import Response as AnyResponse

from app import parts, postings
from app.search import index
from app.store import db, key, now

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024


@app.get("/")
def home() -> str:
    return page({}, {})


@app.post("/postings")
def add() -> AnyResponse | tuple[str, int]:
    try:
        posting = postings.add(request.form, now())
    except postings.Invalid as invalid:
        return page(request.form, invalid.problems), 422
    return redirect(url_for("home", _anchor=f"posting-{posting['id']}"), 303)


@app.get("/api/postings")
def api_list() -> Response:
    return jsonify(found(asked()))


@app.post("/api/postings")
def api_add() -> tuple[Response, int]:
    fields = request.get_json(silent=True)
    try:
        posting = postings.add(fields if isinstance(fields, dict) else {}, now())
    except postings.Invalid as invalid:
        return jsonify(problems=invalid.problems), 422
    return jsonify(posting), 201


@app.get("/releases.json")
def releases() -> Response:
    return jsonify(parts.report(now()))


@app.get("/sequence.json")
def sequence() -> Response:
    return jsonify(parts.sequence())


@app.get("/healthz")
def healthz() -> Response:
    """Healthy means: our own Redis user may read our own keys."""
    db.exists(key("by-time"))
    return Response("ok\n", mimetype="text/plain")


@app.errorhandler(RedisError)
def redis_is_away(error: RedisError) -> tuple[Response, int]:
    app.logger.error("Redis: %s", error)
    return Response("Redis does not answer as it should. Please try again soon.\n", mimetype="text/plain"), 503


@app.after_request
def harden(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def asked() -> str:
    return request.args.get("q", "").strip()[:100]


def found(query: str) -> list[postings.Posting]:
    return index.search(query) if query else postings.newest()


def page(draft: Mapping[str, str], problems: dict[str, str]) -> str:
    return render_template(
        "index.html",
        query=asked(),
        postings=found(asked()),
        waiting=db.llen(postings.QUEUE),
        now=now().isoformat(timespec="seconds"),
        draft=draft,
        problems=problems,
        longest=postings.LONGEST,
        most_days=postings.MOST_DAYS,
        report=parts.report(now()),
    )
