-- How late the flights of a carrier have been running, judged by flights that had already landed.
-- One row per carrier and hour in which at least one of them landed, dated when that hour was over, so that nothing in it
-- was unknown then. Windows end with that hour. Diverted flights have no arrival delay and are left out.
--   carrier_landed_24h     flights landed in the last 24 hours
--   carrier_late_rate_24h  share of them more than 15 minutes late, 0..1
--   carrier_lost_3h        mean minutes lost from gate to gate, over the last 3 hours:
--                          arrival delay less departure delay, negative when made up
--   carrier_lost_24h       the same over the last 24 hours
WITH hourly AS (
    SELECT
        carrier,
        epoch_us(landed_at) // 3600000000 AS hour_number,
        count(*) AS landed,
        count(*) FILTER (arr_delay > 15) AS late,
        sum(arr_delay - dep_delay) AS lost
    FROM main.flights
    WHERE landed_at IS NOT NULL AND arr_delay IS NOT NULL AND carrier IS NOT NULL
    GROUP BY ALL
)
SELECT
    carrier,
    to_timestamp((hour_number + 1) * 3600) AS event_timestamp,
    to_timestamp((hour_number + 1) * 3600) AS created_timestamp,
    CAST(sum(landed) OVER last_24h AS DOUBLE) AS carrier_landed_24h,
    CAST(sum(late) OVER last_24h AS DOUBLE) / sum(landed) OVER last_24h AS carrier_late_rate_24h,
    CAST(sum(lost) OVER last_3h AS DOUBLE) / sum(landed) OVER last_3h AS carrier_lost_3h,
    CAST(sum(lost) OVER last_24h AS DOUBLE) / sum(landed) OVER last_24h AS carrier_lost_24h
FROM hourly
WINDOW
    last_3h AS (PARTITION BY carrier ORDER BY hour_number RANGE BETWEEN 2 PRECEDING AND CURRENT ROW),
    last_24h AS (PARTITION BY carrier ORDER BY hour_number RANGE BETWEEN 23 PRECEDING AND CURRENT ROW)
ORDER BY carrier, event_timestamp
