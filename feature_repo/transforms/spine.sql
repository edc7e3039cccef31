-- One row for each prediction: a flight at the moment it leaves the gate, what is known then, and how it ended.
-- Cancelled and diverted flights have no arrival delay and so no label; flights still in the air have none yet.
--   event_timestamp    when the prediction is made: departure from the gate
--   departed_at        the same, by the name that the contract gives it: the time from which dep_delay is known
--   dep_delay          minutes late at the gate, negative when early
--   departure_hour     scheduled local hour, 0..23
--   weekday            local, Sunday is 0
--   distance           miles
--   scheduled_minutes  planned time from gate to gate
--   late               the label: 1 when it arrived more than 15 minutes late, else 0
--   label_timestamp    when the label became known
SELECT
    flight_id,
    departed_at AS event_timestamp,
    departed_at,
    carrier,
    origin,
    dest,
    tailnum,
    CAST(dep_delay AS DOUBLE) AS dep_delay,
    CAST(hour AS BIGINT) AS departure_hour,
    CAST(dayofweek(make_date(year, month, day)) AS BIGINT) AS weekday,
    CAST(distance AS DOUBLE) AS distance,
    CAST((epoch_us(due_at) - epoch_us(scheduled_at)) // 60000000 AS DOUBLE) AS scheduled_minutes,
    CAST(arr_delay > 15 AS BIGINT) AS late,
    landed_at AS label_timestamp
FROM main.flights
WHERE arr_delay IS NOT NULL AND departed_at IS NOT NULL AND landed_at IS NOT NULL
ORDER BY event_timestamp, flight_id
