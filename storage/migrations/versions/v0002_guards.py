"""Triggers for what a CHECK cannot say: legal state changes, append-only journals, an event per state change.

Refusals carry SQLSTATE 23514 (check_violation), as the CHECKs do.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ORDER_STATE_CHANGES = (
    "planned>sending planned>cancelled "
    "sending>accepted sending>rejected sending>throttled sending>unknown "
    "sending>partly_filled sending>filled sending>cancelled "
    "unknown>accepted unknown>rejected unknown>partly_filled unknown>filled unknown>cancelled unknown>not_created "
    "accepted>rejected accepted>partly_filled accepted>filled accepted>cancelled "
    "partly_filled>filled partly_filled>cancelled"
)

FUNCTIONS = {
    "refuse_change": """
        BEGIN
            RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'check_violation';
        END
    """,
    "guard_run": """
        BEGIN
            IF (NEW.id, NEW.market, NEW.slot, NEW.opened_at)
                IS DISTINCT FROM (OLD.id, OLD.market, OLD.slot, OLD.opened_at)
            THEN
                RAISE EXCEPTION 'run % keeps its market and slot', OLD.id USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.status <> OLD.status
                AND NOT (OLD.status || '>' || NEW.status) = ANY (
                    ARRAY['opened>published', 'opened>finished', 'published>finished'])
            THEN
                RAISE EXCEPTION 'run % cannot go from % to %', OLD.id, OLD.status, NEW.status
                    USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.status = 'finished'
                AND EXISTS (SELECT 1 FROM run_symbols WHERE run_id = NEW.id AND state = 'pending')
            THEN
                RAISE EXCEPTION 'run % has pending symbols', OLD.id USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
    """,
    # FOR KEY SHARE would let the run finish between the look and the insert; FOR SHARE does not
    "guard_run_symbol": """
        DECLARE
            run_status text;
        BEGIN
            IF TG_OP = 'INSERT' THEN
                SELECT status INTO run_status FROM runs WHERE id = NEW.run_id FOR SHARE;
                IF run_status <> 'opened' THEN
                    RAISE EXCEPTION 'run % is %: no symbol can be added', NEW.run_id, run_status
                        USING ERRCODE = 'check_violation';
                END IF;
                IF NEW.state <> 'pending' THEN
                    RAISE EXCEPTION 'symbol % begins as pending, not %', NEW.symbol, NEW.state
                        USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END IF;
            IF (NEW.run_id, NEW.symbol) IS DISTINCT FROM (OLD.run_id, OLD.symbol) OR OLD.state <> 'pending' THEN
                RAISE EXCEPTION 'symbol % of run % is % and stays so', OLD.symbol, OLD.run_id, OLD.state
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
    """,
    "guard_order": f"""
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.state <> 'planned' THEN
                    RAISE EXCEPTION 'order % begins as planned, not %', NEW.client_order_id, NEW.state
                        USING ERRCODE = 'check_violation';
                END IF;
                RETURN NEW;
            END IF;
            IF (NEW.id, NEW.client_order_id, NEW.analysis_id, NEW.run_id, NEW.market, NEW.symbol,
                NEW.side, NEW.quantity, NEW.price, NEW.currency, NEW.created_at)
                IS DISTINCT FROM
               (OLD.id, OLD.client_order_id, OLD.analysis_id, OLD.run_id, OLD.market, OLD.symbol,
                OLD.side, OLD.quantity, OLD.price, OLD.currency, OLD.created_at)
            THEN
                RAISE EXCEPTION 'order % keeps what was decided', OLD.client_order_id USING ERRCODE = 'check_violation';
            END IF;
            IF OLD.venue_order_id IS NOT NULL AND NEW.venue_order_id IS DISTINCT FROM OLD.venue_order_id THEN
                RAISE EXCEPTION 'order % keeps its venue order id %', OLD.client_order_id, OLD.venue_order_id
                    USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.state <> OLD.state
                AND NOT (OLD.state || '>' || NEW.state) = ANY (string_to_array('{ORDER_STATE_CHANGES}', ' '))
            THEN
                RAISE EXCEPTION 'order % cannot go from % to %', OLD.client_order_id, OLD.state, NEW.state
                    USING ERRCODE = 'check_violation';
            END IF;
            IF NEW.filled_quantity <> OLD.filled_quantity AND NEW.filled_quantity
                <> (SELECT coalesce(sum(quantity), 0) FROM fills WHERE order_id = NEW.id)
            THEN
                RAISE EXCEPTION 'order % is filled by its fills only', OLD.client_order_id
                    USING ERRCODE = 'check_violation';
            END IF;
            NEW.updated_at := now();
            RETURN NEW;
        END
    """,
    # runs at commit: whatever a transaction did to an order, its last event says where the order stands
    "check_order_journaled": """
        DECLARE
            stands text;
            told text;
        BEGIN
            SELECT state INTO stands FROM orders WHERE id = NEW.id;
            SELECT to_state INTO told FROM order_events WHERE order_id = NEW.id ORDER BY seq DESC LIMIT 1;
            IF told IS DISTINCT FROM stands THEN
                RAISE EXCEPTION 'order % is % but its last event says %', NEW.client_order_id, stands, told
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END
    """,
    "guard_order_event": """
        DECLARE
            stands text;
            told text;
        BEGIN
            SELECT state INTO stands FROM orders WHERE id = NEW.order_id FOR NO KEY UPDATE;
            SELECT to_state INTO told FROM order_events WHERE order_id = NEW.order_id ORDER BY seq DESC LIMIT 1;
            IF NEW.from_state IS DISTINCT FROM told OR NEW.to_state IS DISTINCT FROM stands THEN
                RAISE EXCEPTION 'order % went from % to %, the event says from % to %',
                    NEW.order_id, told, stands, NEW.from_state, NEW.to_state USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END
    """,
    # the lock first, the sum in the next statement: two fills at once are then summed one after the other
    "sum_fills": """
        BEGIN
            PERFORM 1 FROM orders WHERE id = NEW.order_id FOR NO KEY UPDATE;
            UPDATE orders SET filled_quantity = (SELECT sum(quantity) FROM fills WHERE order_id = NEW.order_id)
            WHERE id = NEW.order_id;
            RETURN NULL;
        END
    """,
}

TRIGGERS = (
    "CREATE TRIGGER guard BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION guard_run()",
    "CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON run_symbols FOR EACH ROW EXECUTE FUNCTION guard_run_symbol()",
    "CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION guard_order()",
    "CREATE CONSTRAINT TRIGGER journaled AFTER INSERT OR UPDATE ON orders DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION check_order_journaled()",
    "CREATE TRIGGER guard BEFORE INSERT ON order_events FOR EACH ROW EXECUTE FUNCTION guard_order_event()",
    "CREATE TRIGGER sum_fills AFTER INSERT ON fills FOR EACH ROW EXECUTE FUNCTION sum_fills()",
    "CREATE TRIGGER unchanged BEFORE UPDATE ON analyses FOR EACH ROW EXECUTE FUNCTION refuse_change()",
)

APPEND_ONLY = ("order_events", "fills", "paper_orders", "paper_fills")


def upgrade() -> None:
    for name, body in FUNCTIONS.items():
        op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    for trigger in TRIGGERS:
        op.execute(trigger)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER never_truncated BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}() CASCADE")
