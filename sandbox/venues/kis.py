"""KIS Open API, domestic stock quotations (koreainvestment/open-trading-api): headers, TR ids, fields and errors.

All values are strings, as in the documented replies. What candles cannot tell is invented for the companies
of `sandbox.companies`, and otherwise served as the neutral value of its field.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from aiohttp import web

from sandbox.candles import CandleBook
from sandbox.companies import KIS
from sandbox.faults import SPOIL, spoiled
from sandbox.ticks import best_bid_and_ask, tick_size, to_tick
from sandbox.venues.kis_prices import KisPrices
from trading.types import Candle

KST = timedelta(hours=9)
TOKEN_LIFE = timedelta(hours=24)
MOST_DAYS = 100
MOST_MINUTES = 30
BOOK_DEPTH = 10
# price limit of a day against the close before (KRX)
DAILY_LIMIT = Decimal("0.3")

QUOTATIONS = "/uapi/domestic-stock/v1/quotations/"
_PRICES = ("stck_oprc", "stck_hgpr", "stck_lwpr", "stck_clpr", "stck_prpr")
NAMES = {
    "005930": ("삼성전자", "전기·전자"),
    "000660": ("SK하이닉스", "전기·전자"),
    "035420": ("NAVER", "IT 서비스"),
    "035720": ("카카오", "IT 서비스"),
}


class Refused(Exception):
    """A request KIS refuses: its message code, message, `rt_cd` and HTTP status."""

    def __init__(self, code: str, message: str, status: int = 200, rt_cd: str = "1") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.rt_cd = rt_cd


class Fields:
    """The query of a request; KIS takes the names in either case."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._values = {name.upper(): value for name, value in query.items()}

    def __getitem__(self, name: str) -> str:
        value = self._values.get(name, "").strip()
        if not value:
            raise Refused("OPSQ2001", f"ERROR : INPUT FIELD NOT FOUND [{name}]", rt_cd="2")
        return value

    def get(self, name: str, default: str) -> str:
        return self._values.get(name, "").strip() or default


class Kis:
    """Answers tokens and quotations from the book's kis candles."""

    def __init__(self, book: CandleBook) -> None:
        self._book = book
        self.prices = KisPrices(book)
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def routes(self, prefix: str) -> list[web.RouteDef]:
        # imported here: it is written in the words of this module
        from sandbox.venues.kis_overseas import overseas_routes

        at = prefix + QUOTATIONS
        return [
            web.post(f"{prefix}/oauth2/tokenP", self._token),
            web.get(f"{at}inquire-price", self._answering("FHKST01010100", self._price)),
            web.get(f"{at}inquire-asking-price-exp-ccn", self._answering("FHKST01010200", self._orderbook)),
            web.get(f"{at}inquire-daily-itemchartprice", self._answering("FHKST03010100", self._days)),
            web.get(f"{at}inquire-time-itemchartprice", self._answering("FHKST03010200", self._minutes)),
            *overseas_routes(self, self._book, prefix),
        ]

    @staticmethod
    def subjects(request: web.Request) -> list[str]:
        """The stock a request is about."""
        return [value for name, value in request.query.items() if name.upper() == "FID_INPUT_ISCD"]

    def failed(self, status: int) -> web.Response:
        return refusal("EGW00002", "서버 에러가 발생했습니다.", status)

    def throttled(self, status: int | None, retry_after: int) -> web.Response:
        # the gateway answers an exceeded rate with HTTP 500, not 429
        return refusal("EGW00201", "초당 거래건수를 초과하였습니다.", status or 500)

    async def _token(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return _token_refusal("EGW00101", "유효하지 않은 요청입니다.")
        if not body.get("grant_type"):
            return _token_refusal("EGW00115", "grant_type은 필수입니다.")
        if body["grant_type"] != "client_credentials":
            return _token_refusal("EGW00116", "유효하지 않은 grant_type입니다.")
        if not body.get("appkey"):
            return _token_refusal("EGW00102", "AppKey는 필수입니다.")
        if not body.get("appsecret"):
            return _token_refusal("EGW00104", "AppSecret은 필수입니다.")
        now = self._book.now()
        token, expiry = self._tokens.get(str(body["appkey"]), ("", now))
        if expiry <= now:
            token, expiry = f"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzUxMiJ9.{secrets.token_urlsafe(48)}", now + TOKEN_LIFE
            self._tokens[str(body["appkey"])] = (token, expiry)
        return web.json_response(
            {
                "access_token": token,
                "access_token_token_expired": f"{expiry + KST:%Y-%m-%d %H:%M:%S}",
                "token_type": "Bearer",
                "expires_in": int((expiry - now).total_seconds()),
            }
        )

    def _answering(self, tr_id: str, answer: Callable[[str, Fields, str | None], dict[str, Any]]) -> Any:
        async def handler(request: web.Request) -> web.Response:
            headers = {"tr_id": tr_id, "tr_cont": "", "gt_uid": secrets.token_hex(16)}
            try:
                self.check_headers(request, tr_id)
                fields = Fields(request.query)
                if fields["FID_COND_MRKT_DIV_CODE"] not in ("J", "NX", "UN"):
                    raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_MRKT_DIV_CODE", rt_cd="2")
                symbol = fields["FID_INPUT_ISCD"]
                if not self.prices.has(symbol):
                    raise Refused("MCA05918", "종목코드 오류입니다.")
                body = answer(symbol, fields, request.get(SPOIL))
            except Refused as refused:
                return refusal(refused.code, str(refused), refused.status, refused.rt_cd)
            body |= {"rt_cd": "0", "msg_cd": "MCA00000", "msg1": "정상처리 되었습니다."}
            return web.json_response(body, headers=headers)

        return handler

    def check_headers(self, request: web.Request, tr_id: str) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        appkey = request.headers.get("appkey", "")
        issued, expiry = self._tokens.get(appkey, ("", self._book.now()))
        if not appkey:
            raise Refused("EGW00102", "AppKey는 필수입니다.", 500)
        if not request.headers.get("appsecret"):
            raise Refused("EGW00104", "AppSecret은 필수입니다.", 500)
        if scheme.lower() != "bearer" or not issued or token != issued:
            raise Refused("EGW00121", "유효하지 않은 token 입니다.", 500)
        if expiry <= self._book.now():
            raise Refused("EGW00123", "기간이 만료된 token 입니다.", 500)
        if request.headers.get("tr_id") != tr_id:
            raise Refused("EGW02006", f"이 요청의 TR 이 아닙니다. ({tr_id})")

    def _price(self, symbol: str, _: Fields, __: str | None) -> dict[str, Any]:
        days = self.prices.daily(symbol)
        today, before = days[-1], days[-2].close
        year = days[-250:]
        highest, lowest = max(year, key=lambda day: day.high), min(year, key=lambda day: day.low)
        turnover = _turnover(today)
        output = {
            "iscd_stat_cls_code": "55",
            "marg_rate": "20.00",
            "rprs_mrkt_kor_name": "KOSPI200",
            "bstp_kor_isnm": NAMES.get(symbol, ("", ""))[1],
            "temp_stop_yn": "N",
            "oprc_rang_cont_yn": "N",
            "clpr_rang_cont_yn": "N",
            "crdt_able_yn": "Y",
            "grmn_rate_cls_code": "40",
            "elw_pblc_yn": "Y",
            "stck_prpr": text(today.close),
            **_change(today.close, before),
            "acml_tr_pbmn": turnover,
            "acml_vol": text(today.volume),
            "prdy_vrss_vol_rate": _percent(today.volume, days[-2].volume),
            "stck_oprc": text(today.open),
            "stck_hgpr": text(today.high),
            "stck_lwpr": text(today.low),
            "stck_mxpr": text(to_tick("kis", before * (1 + DAILY_LIMIT), ROUND_FLOOR)),
            "stck_llam": text(self.prices.lowest(symbol) or to_tick("kis", before * (1 - DAILY_LIMIT), ROUND_CEILING)),
            "stck_sdpr": text(before),
            "wghn_avrg_stck_prc": f"{(today.high + today.low + today.close) / 3:.2f}",
            "hts_frgn_ehrt": "0.00",
            "frgn_ntby_qty": "0",
            "pgtr_ntby_qty": "0",
            "stck_fcam": "100",
            "aspr_unit": text(tick_size("kis", today.close)),
            "hts_deal_qty_unit_val": "1",
            **_company(symbol, today.close),
            "stac_month": "12",
            "vol_tnrt": "0.00",
            "d250_hgpr": text(highest.high),
            "d250_hgpr_date": f"{highest.time:%Y%m%d}",
            "d250_hgpr_vrss_prpr_rate": _percent(today.close - highest.high, highest.high),
            "d250_lwpr": text(lowest.low),
            "d250_lwpr_date": f"{lowest.time:%Y%m%d}",
            "d250_lwpr_vrss_prpr_rate": _percent(today.close - lowest.low, lowest.low),
            "w52_hgpr": text(highest.high),
            "w52_hgpr_vrss_prpr_ctrt": _percent(today.close - highest.high, highest.high),
            "w52_hgpr_date": f"{highest.time:%Y%m%d}",
            "w52_lwpr": text(lowest.low),
            "w52_lwpr_vrss_prpr_ctrt": _percent(today.close - lowest.low, lowest.low),
            "w52_lwpr_date": f"{lowest.time:%Y%m%d}",
            "whol_loan_rmnd_rate": "0.00",
            "ssts_yn": "Y",
            "stck_shrn_iscd": symbol,
            "fcam_cnnm": "100",
            "cpfn_cnnm": "0 억",
            "frgn_hldn_qty": "0",
            "vi_cls_code": "N",
            "ovtm_vi_cls_code": "N",
            "last_ssts_cntg_qty": "0",
            "invt_caful_yn": "N",
            "mrkt_warn_cls_code": "00",
            "short_over_yn": "N",
            "sltr_yn": "N",
        }
        return {"output": output}

    def _orderbook(self, symbol: str, _: Fields, __: str | None) -> dict[str, Any]:
        days = self.prices.daily(symbol)
        today, before = days[-1], days[-2].close
        quantity = max(int(today.volume) // 1_000, 1)
        bid, ask = best_bid_and_ask("kis", today.close)
        now = self._book.now() + KST
        output1 = {"aspr_acpt_hour": f"{now:%H%M%S}"}
        for level in range(1, BOOK_DEPTH + 1):
            output1 |= {
                f"askp{level}": text(ask),
                f"bidp{level}": text(bid),
                f"askp_rsqn{level}": str(quantity),
                f"bidp_rsqn{level}": str(quantity),
                f"askp_rsqn_icdc{level}": "0",
                f"bidp_rsqn_icdc{level}": "0",
            }
            bid, ask = best_bid_and_ask("kis", bid)[0], best_bid_and_ask("kis", ask)[1]
        total = str(quantity * BOOK_DEPTH)
        output1 |= {
            "total_askp_rsqn": total,
            "total_bidp_rsqn": total,
            "total_askp_rsqn_icdc": "0",
            "total_bidp_rsqn_icdc": "0",
            "ovtm_total_askp_icdc": "0",
            "ovtm_total_bidp_icdc": "0",
            "ovtm_total_askp_rsqn": "0",
            "ovtm_total_bidp_rsqn": "0",
            "ntby_aspr_rsqn": "0",
            "new_mkop_cls_code": "20",
        }
        output2 = {
            "antc_mkop_cls_code": "311",
            "stck_prpr": text(today.close),
            "stck_oprc": text(today.open),
            "stck_hgpr": text(today.high),
            "stck_lwpr": text(today.low),
            "stck_sdpr": text(before),
            "antc_cnpr": "0",
            "antc_cntg_vrss_sign": "3",
            "antc_cntg_vrss": "0",
            "antc_cntg_prdy_ctrt": "0.00",
            "antc_vol": "0",
            "stck_shrn_iscd": symbol,
            "vi_cls_code": "N",
        }
        return {"output1": output1, "output2": output2}

    def _days(self, symbol: str, fields: Fields, spoil: str | None) -> dict[str, Any]:
        if fields["FID_PERIOD_DIV_CODE"] != "D":
            raise Refused("OPSQ2001", "ERROR : INPUT INVALID_CHECK_PERIOD_DIV_CODE (sandbox: D only)", rt_cd="2")
        first, last = fields["FID_INPUT_DATE_1"], fields["FID_INPUT_DATE_2"]
        for given in (first, last):
            _check_format(given, "%Y%m%d")
        days = self.prices.daily(symbol)
        wanted = [index for index, day in enumerate(days) if first <= f"{day.time:%Y%m%d}" <= last]
        rows = []
        for index in reversed(wanted[-MOST_DAYS:]):
            day = days[index]
            change = _change(day.close, days[index - 1].close if index else day.open)
            rows.append(
                {
                    "stck_bsop_date": f"{day.time:%Y%m%d}",
                    "stck_clpr": text(day.close),
                    "stck_oprc": text(day.open),
                    "stck_hgpr": text(day.high),
                    "stck_lwpr": text(day.low),
                    "acml_vol": text(day.volume),
                    "acml_tr_pbmn": _turnover(day),
                    "flng_cls_code": "00",
                    "prtt_rate": "0.00",
                    "mod_yn": "N",
                    "prdy_vrss_sign": change["prdy_vrss_sign"],
                    "prdy_vrss": change["prdy_vrss"],
                    "revl_issu_reas": "",
                }
            )
        rows = spoiled(rows, spoil, _PRICES[:4], "NaN")
        return {"output1": self._summary(symbol), "output2": rows}

    def _summary(self, symbol: str) -> dict[str, str]:
        days = self.prices.daily(symbol)
        today, yesterday = days[-1], days[-2]
        bid, ask = best_bid_and_ask("kis", today.close)
        return {
            **_change(today.close, yesterday.close),
            "stck_prdy_clpr": text(yesterday.close),
            "acml_vol": text(today.volume),
            "acml_tr_pbmn": _turnover(today),
            "hts_kor_isnm": NAMES.get(symbol, (symbol, ""))[0],
            "stck_prpr": text(today.close),
            "stck_shrn_iscd": symbol,
            "prdy_vol": text(yesterday.volume),
            "stck_mxpr": text(to_tick("kis", yesterday.close * (1 + DAILY_LIMIT), ROUND_FLOOR)),
            "stck_llam": text(to_tick("kis", yesterday.close * (1 - DAILY_LIMIT), ROUND_CEILING)),
            "stck_oprc": text(today.open),
            "stck_hgpr": text(today.high),
            "stck_lwpr": text(today.low),
            "stck_prdy_oprc": text(yesterday.open),
            "stck_prdy_hgpr": text(yesterday.high),
            "stck_prdy_lwpr": text(yesterday.low),
            "askp": text(ask),
            "bidp": text(bid),
            "prdy_vrss_vol": text(today.volume - yesterday.volume),
            "vol_tnrt": "0.00",
            "stck_fcam": "100",
            "lstn_stcn": "0",
            "cpfn": "0",
            "hts_avls": "0",
            "per": "0.00",
            "eps": "0.00",
            "pbr": "0.00",
            "itewhol_loan_rmnd_ratem": "0.00",
        }

    def _minutes(self, symbol: str, fields: Fields, spoil: str | None) -> dict[str, Any]:
        until = fields["FID_INPUT_HOUR_1"]
        _check_format(until, "%H%M%S")
        minutes = self.prices.minutes(symbol)
        # the TR serves today; with FID_PW_DATA_INCU_YN=Y it goes on into the days before
        today = self._book.now().date()
        past = fields.get("FID_PW_DATA_INCU_YN", "N").upper() == "Y"
        wanted = [
            minute
            for minute in minutes
            if (f"{minute.time + KST:%H%M%S}" <= until if minute.time.date() == today else past)
        ]
        rows: list[dict[str, Any]] = []
        for minute in reversed(wanted[-MOST_MINUTES:]):
            at = minute.time + KST
            rows.append(
                {
                    "stck_bsop_date": f"{at:%Y%m%d}",
                    "stck_cntg_hour": f"{at:%H%M%S}",
                    "stck_prpr": text(minute.close),
                    "stck_oprc": text(minute.open),
                    "stck_hgpr": text(minute.high),
                    "stck_lwpr": text(minute.low),
                    "cntg_vol": text(minute.volume),
                    "acml_tr_pbmn": _turnover(minute),
                }
            )
        kept = ("prdy_vrss", "prdy_vrss_sign", "prdy_ctrt", "stck_prdy_clpr", "acml_vol", "acml_tr_pbmn")
        summary = self._summary(symbol)
        output1 = {name: summary[name] for name in (*kept, "hts_kor_isnm", "stck_prpr")}
        return {"output1": output1, "output2": spoiled(rows, spoil, (*_PRICES[:3], "stck_prpr"), "NaN")}


def refusal(code: str, message: str, status: int, rt_cd: str = "1") -> web.Response:
    return web.json_response({"rt_cd": rt_cd, "msg1": message, "msg_cd": code}, status=status)


def _token_refusal(code: str, message: str) -> web.Response:
    return web.json_response({"error_description": message, "error_code": code}, status=403)


def _check_format(text: str, form: str) -> None:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only the form is checked
    except ValueError:
        raise Refused("OPSQ2002", "ERROR : INPUT INVALID_CHECK_FIELD_LENGTH", rt_cd="2") from None


def text(value: Decimal) -> str:
    return f"{value:f}"


def _company(symbol: str, price: Decimal) -> dict[str, str]:
    """What a price reply says of the company; its value is in hundreds of millions of KRW."""
    company = KIS.get(symbol)
    if company is None:
        return {"lstn_stcn": "0", "hts_avls": "0", "per": "0.00", "pbr": "0.00", "eps": "0.00", "bps": "0.00"}
    return {
        "lstn_stcn": str(company.shares),
        "hts_avls": f"{company.value(price) / 100_000_000:.0f}",
        "per": text(company.per(price)),
        "pbr": text(company.pbr(price)),
        "eps": f"{company.eps:.2f}",
        "bps": f"{company.bps:.2f}",
    }


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole * 100:.2f}" if whole else "0.00"


def _change(close: Decimal, before: Decimal) -> dict[str, str]:
    change = close - before
    return {
        "prdy_vrss": text(change),
        "prdy_vrss_sign": "2" if change > 0 else "5" if change < 0 else "3",
        "prdy_ctrt": _percent(change, before),
    }


def _turnover(candle: Candle) -> str:
    # the recordings have no turnover; the typical price makes a fair one
    return f"{(candle.high + candle.low + candle.close) / 3 * candle.volume:.0f}"
