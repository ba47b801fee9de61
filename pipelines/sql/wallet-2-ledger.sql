-- The ledger: two entries for every event, which balance. Safe to apply again.

CREATE TABLE IF NOT EXISTS ledger_transactions (
  event_id    bigint PRIMARY KEY,
  wallet_id   text NOT NULL,
  version     bigint NOT NULL,
  type        text NOT NULL,
  occurred_at timestamptz NOT NULL,
  booked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (wallet_id, version)
);

CREATE TABLE IF NOT EXISTS ledger_entries (
  event_id bigint NOT NULL REFERENCES ledger_transactions,
  -- `wallet:<id>`, `cash` (the world outside) or `transfers` (on the way between two wallets; 0 when nothing is).
  account  text NOT NULL,
  -- Above 0: the account gets it.
  amount   numeric NOT NULL CHECK (amount <> 0),
  PRIMARY KEY (event_id, account)
);
CREATE INDEX IF NOT EXISTS ledger_entries_account ON ledger_entries (account);

-- Whoever writes, and however: a statement that leaves something unbalanced is refused. All at once, not row by row.
CREATE OR REPLACE FUNCTION ledger_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  events bigint[];
  wrong  text;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    SELECT array_agg(event_id) INTO events FROM (SELECT event_id FROM changed UNION SELECT event_id FROM former) e;
  ELSE
    SELECT array_agg(DISTINCT event_id) INTO events FROM changed;
  END IF;
  SELECT event_id || ' does not balance: its entries add up to ' || sum(amount) INTO wrong
    FROM ledger_entries WHERE event_id = ANY (events) GROUP BY event_id HAVING sum(amount) <> 0 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'ledger transaction %', wrong USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER ledger_balanced_insert AFTER INSERT ON ledger_entries
  REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger_balanced();
CREATE OR REPLACE TRIGGER ledger_balanced_delete AFTER DELETE ON ledger_entries
  REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION ledger_balanced();
CREATE OR REPLACE TRIGGER ledger_balanced_update AFTER UPDATE ON ledger_entries
  REFERENCING NEW TABLE AS changed OLD TABLE AS former FOR EACH STATEMENT EXECUTE FUNCTION ledger_balanced();

-- Books a batch of events. An event that is booked already changes nothing.
CREATE OR REPLACE FUNCTION ledger_book(events jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM jsonb_to_recordset(events) AS e("eventId" bigint, "walletId" text, version bigint, type text, amount numeric, "occurredAt" timestamptz)
    WHERE "eventId" IS NULL OR "walletId" IS NULL OR coalesce(version, 0) < 1 OR coalesce(amount, 0) = 0 OR amount::text ~ '[Nf]'
      OR "occurredAt" IS NULL OR coalesce(type, '') NOT IN ('Deposited', 'Withdrawn', 'TransferSent', 'TransferReceived');
  IF FOUND THEN
    RAISE EXCEPTION 'no wallet event: eventId, walletId, version, amount, occurredAt and a known type are needed' USING ERRCODE = 'check_violation';
  END IF;
  WITH event AS MATERIALIZED (
    SELECT DISTINCT ON ("eventId") "eventId" AS id, "walletId" AS wallet, version, type, amount, "occurredAt" AS at
    FROM jsonb_to_recordset(events) AS e("eventId" bigint, "walletId" text, version bigint, type text, amount numeric, "occurredAt" timestamptz)
  ), fresh AS (
    INSERT INTO ledger_transactions (event_id, wallet_id, version, type, occurred_at) SELECT id, wallet, version, type, at FROM event
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id
  )
  INSERT INTO ledger_entries (event_id, account, amount)
    SELECT id, leg.account, leg.amount FROM event JOIN fresh ON event_id = id, LATERAL (VALUES
      ('wallet:' || wallet, event.amount),
      (CASE WHEN type IN ('Deposited', 'Withdrawn') THEN 'cash' ELSE 'transfers' END, -event.amount)) AS leg(account, amount);
END $$;
