-- Does everything agree, to the last digit? No row: yes. For a moment's truth ask when the projectors have caught up. Safe to apply again.
-- Needs wallet-1-events.sql, wallet-2-ledger.sql and wallet-3-read-model.sql in the same database.

CREATE OR REPLACE VIEW wallet_differences AS
WITH store AS (
  SELECT wallet_id, sum(amount) AS balance, max(version) AS version, count(*) AS events FROM wallet_events GROUP BY wallet_id
), ledger AS (
  SELECT substr(account, 8) AS wallet_id, sum(amount) AS balance FROM ledger_entries WHERE account LIKE 'wallet:%' GROUP BY account
)
SELECT wallet_id, w.balance AS wallet, s.balance AS event_store, l.balance AS ledger, b.balance AS read_model,
  s.events, s.version AS event_version, b.version AS read_model_version
FROM wallets w
FULL JOIN store s USING (wallet_id)
FULL JOIN ledger l USING (wallet_id)
FULL JOIN wallet_balances b USING (wallet_id)
WHERE (w.balance, w.version, s.events) IS DISTINCT FROM (s.balance, s.version, s.version)
   OR (l.balance, b.balance, b.version) IS DISTINCT FROM (s.balance, s.balance, s.version);

-- Money between two wallets: 0 when nothing is on its way. All accounts together are always 0.
CREATE OR REPLACE VIEW ledger_accounts AS
SELECT account, sum(amount) AS balance, count(*) AS entries FROM ledger_entries GROUP BY account;
