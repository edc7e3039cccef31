-- How late the flights of one aircraft have been running, judged by flights that had already landed.
-- One row per aircraft and hour in which at least one of them landed, dated when that hour was over, so that nothing in it
-- was unknown then. Windows end with that hour. Diverted flights have no arrival delay and are left out.
--   aircraft_landed_7d     flights landed in the last 7 days
--   aircraft_late_rate_7d  share of them more than 15 minutes late, 0..1
--   aircraft_lost_24h      mean minutes lost from gate to gate, over the last 24 hours:
--                          arrival delay less departure delay, negative when made up
--   aircraft_lost_7d       the same over the last 7 days
WITH hourly AS (
    SELECT
        tailnum,
        epoch_us(landed_at) // 3600000000 AS hour_number,
        count(*) AS landed,
        count(*) FILTER (arr_delay > 15) AS late,
        sum(arr_delay - dep_delay) AS lost
    FROM main.flights
    WHERE landed_at IS NOT NULL AND arr_delay IS NOT NULL AND tailnum IS NOT NULL
    GROUP BY ALL
)
SELECT
    tailnum,
    to_timestamp((hour_number + 1) * 3600) AS event_timestamp,
    to_timestamp((hour_number + 1) * 3600) AS created_timestamp,
    CAST(sum(landed) OVER last_7d AS DOUBLE) AS aircraft_landed_7d,
    CAST(sum(late) OVER last_7d AS DOUBLE) / sum(landed) OVER last_7d AS aircraft_late_rate_7d,
    CAST(sum(lost) OVER last_24h AS DOUBLE) / sum(landed) OVER last_24h AS aircraft_lost_24h,
    CAST(sum(lost) OVER last_7d AS DOUBLE) / sum(landed) OVER last_7d AS aircraft_lost_7d
FROM hourly
WINDOW
    last_24h AS (PARTITION BY tailnum ORDER BY hour_number RANGE BETWEEN 23 PRECEDING AND CURRENT ROW),
    last_7d AS (PARTITION BY tailnum ORDER BY hour_number RANGE BETWEEN 167 PRECEDING AND CURRENT ROW)
ORDER BY tailnum, event_timestamp
