-- The balances that are shown. Safe to apply again.

CREATE TABLE IF NOT EXISTS wallet_balances (
  wallet_id  text PRIMARY KEY,
  balance    numeric NOT NULL,
  -- Of the last event in it.
  version    bigint NOT NULL,
  updated_at timestamptz NOT NULL
);

-- Adds a batch of events to the balances in `target`. An event that is in already changes nothing; one that comes before its time
-- is refused. A wallet that is new here starts from what its event says, so that a topic which has forgotten its oldest events still rebuilds.
CREATE OR REPLACE FUNCTION wallet_project(events jsonb, target regclass DEFAULT 'wallet_balances') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  wrong text;
BEGIN
  -- What the ledger would not book is not shown either; `N` and `f` are in NaN and the infinities.
  SELECT coalesce("walletId", 'of no wallet') INTO wrong FROM jsonb_to_recordset(events)
      AS e("eventId" bigint, "walletId" text, version bigint, type text, amount numeric, balance numeric, "occurredAt" timestamptz)
    WHERE "eventId" IS NULL OR "walletId" IS NULL OR coalesce(version, 0) < 1 OR coalesce(amount, 0) = 0 OR amount::text ~ '[Nf]'
      OR balance IS NULL OR balance::text ~ '[Nf]' OR "occurredAt" IS NULL
      OR coalesce(type, '') NOT IN ('Deposited', 'Withdrawn', 'TransferSent', 'TransferReceived') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'no wallet event (%): eventId, walletId, version, amount, balance, occurredAt and a known type are needed', wrong
      USING ERRCODE = 'check_violation';
  END IF;
  EXECUTE format($q$
    WITH event AS (
      SELECT DISTINCT ON (id, v) x->>'walletId' AS id, (x->>'version')::bigint AS v, (x->>'amount')::numeric AS amount,
        (x->>'balance')::numeric AS after, (x->>'occurredAt')::timestamptz AS at
      FROM jsonb_array_elements($1) x, LATERAL (SELECT x->>'walletId' AS id, (x->>'version')::bigint AS v) k
    ), fresh AS (
      SELECT event.*, b.version AS have FROM event LEFT JOIN %1$s b ON b.wallet_id = event.id WHERE event.v > coalesce(b.version, 0)
    )
    SELECT id || ' is at ' || coalesce(max(have)::text, 'its beginning') || ' and got ' || min(v) FROM fresh GROUP BY id
      HAVING count(*) <> max(v) - min(v) + 1 OR min(v) <> max(have) + 1 LIMIT 1$q$, target) INTO wrong USING events;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'out of order: wallet %', wrong USING ERRCODE = 'check_violation';
  END IF;
  EXECUTE format($q$
    INSERT INTO %1$s AS b (wallet_id, balance, version, updated_at)
    SELECT id, sum(amount) + CASE WHEN max(have) IS NULL THEN (array_agg(after - amount ORDER BY v))[1] ELSE 0 END, max(v), max(at)
    FROM (
      SELECT DISTINCT ON (e.id, e.v) e.*, b.version AS have
      FROM (SELECT x->>'walletId' AS id, (x->>'version')::bigint AS v, (x->>'amount')::numeric AS amount,
              (x->>'balance')::numeric AS after, (x->>'occurredAt')::timestamptz AS at FROM jsonb_array_elements($1) x) e
      LEFT JOIN %1$s b ON b.wallet_id = e.id WHERE e.v > coalesce(b.version, 0)
    ) fresh GROUP BY id ORDER BY id
    ON CONFLICT (wallet_id) DO UPDATE SET balance = b.balance + excluded.balance, version = excluded.version, updated_at = excluded.updated_at$q$, target) USING events;
END $$;
