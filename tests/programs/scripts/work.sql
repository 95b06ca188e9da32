-- Tables, indexes, joins, aggregates, recursion, a transaction rolled back, errors; all deterministic.
.bail off
DROP TABLE IF EXISTS item; DROP TABLE IF EXISTS sale;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, price REAL);
CREATE TABLE sale(id INTEGER PRIMARY KEY, item INTEGER REFERENCES item(id), amount INTEGER, day TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
INSERT INTO item SELECT i, printf('item %05d', i * 7919 % 2003), (i * 37 % 1000) / 7.0 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO sale SELECT i, i * 31 % 2000 + 1, i * 17 % 23, date('2020-01-01', '+' || (i % 700) || ' days') FROM n;
CREATE INDEX sale_item ON sale(item);
SELECT count(*), sum(amount), round(avg(amount), 6) FROM sale;
SELECT name, sum(amount) AS total, round(sum(amount * price), 4) FROM item JOIN sale ON sale.item = item.id
 GROUP BY item.id HAVING total > 130 ORDER BY total DESC, name LIMIT 20;
SELECT substr(day, 1, 7) AS month, count(*), group_concat(DISTINCT amount) FROM sale GROUP BY month ORDER BY month LIMIT 6;
SELECT a.name, b.name FROM item a JOIN item b ON b.price = a.price AND b.id > a.id ORDER BY a.name, b.name LIMIT 8;
BEGIN; DELETE FROM sale WHERE amount > 5; SELECT count(*) FROM sale; ROLLBACK; SELECT count(*) FROM sale;
SELECT name FROM item WHERE name LIKE '%77%' OR name GLOB '*0012[3-5]' ORDER BY name;
SELECT json_group_array(id) FROM (SELECT id FROM item WHERE price < 3 ORDER BY id);
SELECT id, rank() OVER (PARTITION BY item % 3 ORDER BY amount, id) FROM sale WHERE id < 12 ORDER BY id;
INSERT INTO item VALUES(1, 'again', 0);
SELECT hex(zeroblob(20)), upper('äbc'), length(replace(printf('%.*c', 500, 'x'), 'xx', 'y'));
SELECT no_such_column FROM item;
UPDATE item SET price = price * 1.1 WHERE id % 3 = 0;
SELECT round(sum(price), 5) FROM item;
