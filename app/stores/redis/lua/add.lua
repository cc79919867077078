-- Add a record.
--
-- KEYS[1]  latchkey:{ID}
-- ARGV     id, time to live in milliseconds or '', version, data, seen, expires, made;
--          for a user's session also account id, public id, name and authentication; '' for a
--          name or an authentication that there is not
insert(KEYS[1], unpack(ARGV))
