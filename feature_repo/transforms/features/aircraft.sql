-- What the registry says of an aircraft. It was published without dates and its facts do not change within a year, so each
-- row counts as known since the last day before the first flight.
--   aircraft_age  years between manufacture and 2013
SELECT
    tailnum,
    to_timestamp(epoch(TIMESTAMP '2012-12-31 00:00:00')) AS event_timestamp,
    to_timestamp(epoch(TIMESTAMP '2012-12-31 00:00:00')) AS created_timestamp,
    CAST(2013 - year AS DOUBLE) AS aircraft_age,
    CAST(seats AS DOUBLE) AS seats,
    CAST(engines AS DOUBLE) AS engines,
    engine,
    manufacturer
FROM main.planes
WHERE tailnum IS NOT NULL
ORDER BY tailnum
