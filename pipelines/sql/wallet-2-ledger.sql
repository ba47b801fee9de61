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

-- Whoever writes, and however: what does not balance does not commit.
CREATE OR REPLACE FUNCTION ledger_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  event bigint;
  total numeric;
BEGIN
  FOREACH event IN ARRAY CASE TG_OP
    WHEN 'INSERT' THEN ARRAY[NEW.event_id] WHEN 'DELETE' THEN ARRAY[OLD.event_id] ELSE ARRAY[OLD.event_id, NEW.event_id] END LOOP
    SELECT sum(amount) INTO total FROM ledger_entries WHERE event_id = event;
    IF total <> 0 THEN
      RAISE EXCEPTION 'ledger transaction % does not balance: its entries add up to %', event, total USING ERRCODE = 'check_violation';
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'ledger_balanced' AND tgrelid = 'ledger_entries'::regclass) THEN
    CREATE CONSTRAINT TRIGGER ledger_balanced AFTER INSERT OR UPDATE OR DELETE ON ledger_entries
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_balanced();
  END IF;
END $$;

-- Books one event. An event that is booked already changes nothing.
CREATE OR REPLACE FUNCTION ledger_book(event jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  id     bigint := (event->>'eventId')::bigint;
  wallet text := event->>'walletId';
  amount numeric := (event->>'amount')::numeric;
  against text := CASE event->>'type' WHEN 'Deposited' THEN 'cash' WHEN 'Withdrawn' THEN 'cash'
    WHEN 'TransferSent' THEN 'transfers' WHEN 'TransferReceived' THEN 'transfers' END;
BEGIN
  IF id IS NULL OR wallet IS NULL OR amount IS NULL OR amount = 0 OR against IS NULL OR event->>'version' IS NULL THEN
    RAISE EXCEPTION 'no wallet event: eventId, walletId, version, amount and a known type are needed' USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO ledger_transactions (event_id, wallet_id, version, type, occurred_at)
    VALUES (id, wallet, (event->>'version')::bigint, event->>'type', (event->>'occurredAt')::timestamptz)
    ON CONFLICT (event_id) DO NOTHING;
  IF FOUND THEN
    INSERT INTO ledger_entries VALUES (id, 'wallet:' || wallet, amount), (id, against, -amount);
  END IF;
END $$;
