-- Hourly observations with the instant from which they may be used: an hour's observation is complete, and so known,
-- when the hour is over.
--   known_at  end of the observed hour (UTC)
SELECT
    *,
    timezone('UTC', timezone('UTC', CAST(time_hour AS TIMESTAMPTZ)) + INTERVAL 1 HOUR) AS known_at
FROM raw.weather
