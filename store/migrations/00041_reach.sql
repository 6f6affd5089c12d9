-- +goose Up

-- Whom a campaign would reach is counted for every draft and preview, in the transaction of the call. All that the count looks at stands here, so
-- that it reads one index from end to end and no customer.
CREATE INDEX customers_reach ON customers (merchant_id, erased_at, email_consent_at, sms_consent_at, last_contacted_at, email, phone, customer_no);
