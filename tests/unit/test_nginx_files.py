"""nginx's files: the configuration as nginx itself takes it, and the scripts that make and renew certificates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NGINX = ROOT / "deploy" / "nginx"
TEMPLATE = (NGINX / "templates" / "autotrader.conf.template").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
SCRIPTS = sorted(NGINX.glob("*.sh"))
UNPRIVILEGED = {"HTTP_LISTEN": "127.0.0.1:8080", "HTTPS_LISTEN": "127.0.0.1:8443", "ACME_DIR": "/nowhere"}


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not on PATH")


def run(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(NGINX / script), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def asked(certificate: Path, *what: str) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", *what], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def fields() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)\}", TEMPLATE))


def test_compose_and_the_renderer_fill_in_every_field_of_the_template() -> None:
    assert fields() <= set(COMPOSE["nginx"]["environment"])
    rendered = re.findall(r"^([A-Z_]+)=", (NGINX / "render.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert fields() <= set(rendered)


def test_an_upstream_is_always_a_variable_so_that_its_address_is_asked_for_again() -> None:
    passed = re.findall(r"proxy_pass (\S+);", TEMPLATE)
    assert len(passed) == 4
    assert all(re.fullmatch(r"http://\$[a-z]+", target) for target in passed)


def test_no_location_drops_the_headers_of_its_server() -> None:
    # nginx inherits add_header only where a level has none of its own
    assert all(
        line.startswith("    add_header") for line in TEMPLATE.splitlines() if "add_header " in line and "#" not in line
    )
    assert not any("add_header" in path.read_text(encoding="utf-8") for path in (NGINX / "snippets").iterdir())


def test_the_log_has_neither_a_query_nor_a_header_of_the_caller() -> None:
    [told] = re.findall(r"log_format told (.*?);", TEMPLATE, re.DOTALL)
    variables = set(re.findall(r"\$(\w+)", told))
    assert not {"request", "request_uri", "args", "query_string", "remote_user", "http_referer"} & variables
    assert not any(name.startswith(("http_", "cookie_", "arg_")) for name in variables)


def test_what_a_caller_says_of_itself_is_replaced() -> None:
    told = (NGINX / "snippets" / "proxy.conf").read_text(encoding="utf-8")
    assert "$proxy_add_x_forwarded_for" not in told
    for header, value in {"X-Forwarded-For": "$remote_addr", "X-Forwarded-Proto": "https", "Forwarded": '""'}.items():
        assert f"proxy_set_header {header} {value};" in told


@pytest.mark.parametrize("name", ["nginx", "certificates"])
def test_every_file_that_compose_mounts_is_there(name: str) -> None:
    mounted = [volume.split(":") for volume in COMPOSE[name]["volumes"] if volume.startswith("./")]
    assert mounted
    for source, _, mode in mounted:
        assert (ROOT / "deploy" / source).exists(), source
        assert mode == "ro"
    assert COMPOSE[name]["read_only"]
    assert COMPOSE[name]["mem_limit"]


def test_every_page_that_nginx_answers_with_is_there_in_both_languages() -> None:
    named = set(re.findall(r"/_pages/([a-z-]+)\.\$answer_form", TEMPLATE))
    assert named == {path.stem for path in (NGINX / "pages").glob("*.html")}
    for name in named:
        text = (NGINX / "pages" / f"{name}.html").read_text(encoding="utf-8")
        assert re.search("[가-힣]{2}", text)
        assert '<p lang="en">' in text
        # its policy allows neither
        assert "<script" not in text
        assert "style" not in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_for_any_shell_and_may_be_run(script: Path) -> None:
    assert script.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    done = run("render.sh", tmp_path / "nginx", SERVER_NAME="trader.test 192.168.0.10", **UNPRIVILEGED)
    assert done.returncode == 0, done.stderr
    return tmp_path / "nginx"


@needs("nginx")
@needs("openssl")
def test_nginx_takes_the_configuration(rendered: Path, tmp_path: Path) -> None:
    assert not re.search(r"\$\{[A-Z]", (rendered / "conf.d" / "autotrader.conf").read_text(encoding="utf-8"))
    assert run("local-ca.sh", tmp_path / "ca", rendered / "tls", "localhost").returncode == 0
    file = rendered / "conf.d" / "autotrader.conf"
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    if tuple(map(int, re.findall(r"\d+", version)[:3])) < (1, 25, 1):
        # the directive is of 1.25.1; the rest is the same in Debian's older nginx
        file.write_text(file.read_text(encoding="utf-8").replace("http2 on;", ""), encoding="utf-8")
    done = subprocess.run(
        ["nginx", "-t", "-c", rendered / "nginx.conf", "-g", f"pid {tmp_path}/pid;"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


@pytest.mark.parametrize("value", ["x;}", "a|b", "$(id)", "a'b"])
def test_the_renderer_refuses_what_would_end_a_directive(tmp_path: Path, value: str) -> None:
    done = run("render.sh", tmp_path / "nginx", SERVER_NAME=value)
    assert done.returncode == 1
    assert "SERVER_NAME has a character that it must not have" in done.stderr
    assert not (tmp_path / "nginx" / "conf.d" / "autotrader.conf").exists()


@needs("openssl")
class TestLocalAuthority:
    """local-ca.sh."""

    def test_it_makes_an_authority_once_and_a_certificate_for_all_names(self, tmp_path: Path) -> None:
        ca, tls = tmp_path / "ca", tmp_path / "tls"
        first = run("local-ca.sh", ca, tls, "trader.lan", "192.168.0.10", "::1")
        assert first.returncode == 0, first.stderr
        names = asked(tls / "fullchain.pem", "-ext", "subjectAltName")
        for name in ("DNS:trader.lan", "IP Address:192.168.0.10", "IP Address:0:0:0:0:0:0:0:1"):
            assert name in names
        verified = ["openssl", "verify", "-CAfile", ca / "ca.crt", "-purpose", "sslserver", tls / "fullchain.pem"]
        subprocess.run(verified, check=True, capture_output=True)
        assert (tls / "privkey.pem").stat().st_mode & 0o777 == 0o600
        assert (ca / "ca.key").stat().st_mode & 0o777 == 0o600
        assert (tls / "ca.crt").read_bytes() == (ca / "ca.crt").read_bytes()
        before = (tls / "fullchain.pem").read_bytes()
        second = run("local-ca.sh", ca, tls, "trader.lan", "192.168.0.10", "::1")
        assert (second.returncode, second.stdout) == (0, "")
        assert (tls / "fullchain.pem").read_bytes() == before

    @pytest.mark.parametrize("reason", ["it ends soon", "another name", "a lost key", "another authority"])
    def test_it_makes_the_certificate_anew_for_a_reason(self, tmp_path: Path, reason: str) -> None:
        ca, tls = tmp_path / "ca", tmp_path / "tls"
        run("local-ca.sh", ca, tls, "a.lan", LEAF_DAYS="20" if reason == "it ends soon" else "390")
        serial, authority = asked(tls / "fullchain.pem", "-serial"), (ca / "ca.crt").read_bytes()
        if reason == "a lost key":
            (tls / "privkey.pem").write_text("lost", encoding="utf-8")
        if reason == "another authority":
            (ca / "ca.key").unlink()
        done = run("local-ca.sh", ca, tls, "b.lan" if reason == "another name" else "a.lan")
        assert done.returncode == 0, done.stderr
        assert asked(tls / "fullchain.pem", "-serial") != serial
        assert ((ca / "ca.crt").read_bytes() == authority) == (reason != "another authority")

    def test_it_refuses_what_is_no_name(self, tmp_path: Path) -> None:
        done = run("local-ca.sh", tmp_path / "ca", tmp_path / "tls", "https://trader.lan/")
        assert done.returncode == 1
        assert "is neither a host name nor an IP address" in done.stderr


@needs("openssl")
class TestCertificates:
    """certificates.sh, put-certificate.sh, the hooks of certbot and tailscale."""

    def once(self, folder: Path, mode: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {"TLS_DIR": str(folder / "tls"), "CA_DIR": str(folder / "ca"), "GIVEN_DIR": str(folder / "given")}
        return run("certificates.sh", "--once", TLS_MODE=mode, **places, **environment)

    def given(self, folder: Path) -> None:
        """As a public authority would issue it."""
        done = run("local-ca.sh", folder / "public", folder / "given", "trader.example")
        assert done.returncode == 0, done.stderr

    @pytest.mark.parametrize("mode", ["local", "files"])
    def test_the_first_start_without_any_certificate_has_one(self, tmp_path: Path, mode: str) -> None:
        done = self.once(tmp_path, mode, SERVER_NAME="trader.lan 10.0.0.5")
        assert done.returncode == 0, done.stderr
        names = asked(tmp_path / "tls" / "fullchain.pem", "-ext", "subjectAltName")
        assert "DNS:localhost" in names
        assert "DNS:trader.lan" in names
        assert "IP Address:10.0.0.5" in names
        assert ("no fullchain.pem and privkey.pem are in" in done.stderr) == (mode == "files")

    def test_a_pattern_of_nginx_is_no_name_of_the_certificate(self, tmp_path: Path) -> None:
        assert self.once(tmp_path, "local", SERVER_NAME="~.").returncode == 0
        assert "~" not in asked(tmp_path / "tls" / "fullchain.pem", "-ext", "subjectAltName")

    def test_what_is_given_later_takes_the_place_of_our_own_and_stays(self, tmp_path: Path) -> None:
        self.once(tmp_path, "files")
        self.given(tmp_path)
        done = self.once(tmp_path, "files")
        assert done.returncode == 0, done.stderr
        assert "new certificate" in done.stdout
        assert "DNS:trader.example" in asked(tmp_path / "tls" / "fullchain.pem", "-ext", "subjectAltName")
        again = self.once(tmp_path, "files")
        assert (again.stdout, again.stderr) == ("", "")

    @pytest.mark.parametrize(
        ("spoiled", "said"),
        [
            ("another key", "is not the key of"),
            ("no certificate", "is no certificate in PEM form"),
            ("no key", "is no private key in PEM form"),
            ("half of it", "cannot be read"),
            ("out of date", "is out of date"),
        ],
    )
    def test_what_cannot_be_served_is_told_and_what_was_served_stays(
        self, tmp_path: Path, spoiled: str, said: str
    ) -> None:
        self.given(tmp_path)
        self.once(tmp_path, "files")
        before = (tmp_path / "tls" / "fullchain.pem").read_bytes()
        given = tmp_path / "given"
        match spoiled:
            case "another key":
                run("local-ca.sh", tmp_path / "other", tmp_path / "else", "x.lan")
                shutil.copy(tmp_path / "else" / "privkey.pem", given / "privkey.pem")
            case "no certificate":
                (given / "fullchain.pem").write_text("<html>", encoding="utf-8")
            case "no key":
                (given / "privkey.pem").write_text("", encoding="utf-8")
            case "half of it":
                (given / "privkey.pem").unlink()
            case _:
                signed = ["openssl", "x509", "-in", given / "fullchain.pem", "-signkey", given / "privkey.pem"]
                ended = subprocess.run([*signed, "-days", "0"], check=True, capture_output=True)
                (given / "fullchain.pem").write_bytes(ended.stdout)
        done = self.once(tmp_path, "files")
        assert said in done.stderr
        assert (tmp_path / "tls" / "fullchain.pem").read_bytes() == before
        assert (tmp_path / "tls" / "privkey.pem").stat().st_size

    def test_an_unknown_mode_is_refused_by_name(self, tmp_path: Path) -> None:
        done = self.once(tmp_path, "letsencrypt")
        assert done.returncode == 2
        assert "TLS_MODE=letsencrypt is none of: local, files" in done.stderr

    def test_certbots_hook_puts_the_renewed_pair_where_it_is_taken_from(self, tmp_path: Path) -> None:
        run("local-ca.sh", tmp_path / "public", tmp_path / "live", "trader.example")
        done = run(
            "certbot-deploy-hook.sh",
            RENEWED_LINEAGE=str(tmp_path / "live"),
            TLS_GIVEN_DIR=str(tmp_path / "given"),
            RELOAD=f"touch {tmp_path}/reloaded",
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "reloaded").exists()
        assert self.once(tmp_path, "files").returncode == 0
        assert "trader.example" in asked(tmp_path / "tls" / "fullchain.pem", "-ext", "subjectAltName")

    def test_a_certificate_of_the_tailnet_is_fetched_by_the_program_of_tailscale(self, tmp_path: Path) -> None:
        # stands in for the program: it copies what tailscaled would fetch
        run("local-ca.sh", tmp_path / "public", tmp_path / "fetched", "pi.tail.ts.net")
        program = tmp_path / "bin" / "tailscale"
        program.parent.mkdir()
        program.write_text(
            '#!/bin/sh\n[ "$1 $6" = "cert pi.tail.ts.net" ] || exit 1\n'
            f'cp {tmp_path}/fetched/fullchain.pem "$3" && cp {tmp_path}/fetched/privkey.pem "$5"\n',
            encoding="utf-8",
        )
        program.chmod(0o755)
        environment = {"PATH": f"{program.parent}:{os.environ['PATH']}", "TLS_GIVEN_DIR": str(tmp_path / "given")}
        done = run("tailscale.sh", "pi.tail.ts.net", **environment)
        assert done.returncode == 0, done.stderr
        assert self.once(tmp_path, "files").returncode == 0
        refused = run("tailscale.sh", "other.ts.net", **environment)
        assert refused.returncode == 1
        assert "switch HTTPS on" in refused.stderr
