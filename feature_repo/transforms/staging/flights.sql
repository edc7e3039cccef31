-- Every flight with its clock: five columns more than the publisher's, the times all instants (UTC).
--   flight_id     readable unique key: local day of the schedule, carrier, flight number, origin
--   scheduled_at  scheduled departure
--   due_at        scheduled arrival
--   departed_at   left the gate; NULL when cancelled
--   landed_at     reached the gate; NULL when cancelled or never arrived
-- The publisher gives arrivals as wall-clock times at the destination, without a date: a flight arrived the first time
-- after its departure that this clock showed that time, for no flight here lasts a day. A time inside the hour that the
-- end of daylight saving time repeats is read as the later one, so nothing is ever taken for known too early. Arithmetic is
-- done on naive UTC and in hours, so that the result does not depend on the session's time zone.
WITH clock AS (
    SELECT
        flown.*,
        timezone('UTC', CAST(time_hour AS TIMESTAMPTZ)) + to_minutes(CAST(minute AS BIGINT)) AS scheduled_utc,
        scheduled_utc + to_minutes(CAST(dep_delay AS BIGINT)) AS departed_utc,
        -- the publisher's airports leave out Puerto Rico and the Virgin Islands, which share one zone
        coalesce(zones.tzone, 'America/Puerto_Rico') AS zone_there,
        timezone(zone_there, timezone('UTC', scheduled_utc)) AS scheduled_there,
        timezone(zone_there, timezone('UTC', departed_utc)) AS departed_there,
        CAST((sched_arr_time // 100) * 60 + sched_arr_time % 100 AS BIGINT) % 1440 AS due_minute,
        CAST((arr_time // 100) * 60 + arr_time % 100 AS BIGINT) % 1440 AS landed_minute
    FROM raw.flights AS flown
    LEFT JOIN raw.airports AS zones ON zones.faa = flown.dest
), arrival AS (
    SELECT
        *,
        date_trunc('day', scheduled_there) + to_minutes(due_minute) AS due_that_day,
        date_trunc('day', departed_there) + to_minutes(landed_minute) AS landed_that_day,
        CASE WHEN due_that_day < scheduled_there THEN due_that_day + INTERVAL 24 HOUR ELSE due_that_day END AS due_there,
        CASE WHEN landed_that_day < departed_there THEN landed_that_day + INTERVAL 24 HOUR ELSE landed_that_day END
            AS landed_there
    FROM clock
)
SELECT
    year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier, flight, tailnum,
    origin, dest, air_time, distance, hour, minute, time_hour,
    printf('%04d-%02d-%02d-%s-%d-%s', year, month, day, carrier, flight, origin) AS flight_id,
    timezone('UTC', scheduled_utc) AS scheduled_at,
    timezone(zone_there, due_there) AS due_at,
    timezone('UTC', departed_utc) AS departed_at,
    timezone(zone_there, landed_there) AS landed_at
FROM arrival
