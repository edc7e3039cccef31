-- The weather at the origin, as the last complete hourly observation says. Inches, degrees Fahrenheit, miles an hour,
-- millibars, miles. Wind over 200 mph is an instrument's fault (one observation of the year says 1,048) and left unknown.
-- No gust reported means that there was none worth reporting: the steady wind stands in for it.
SELECT
    origin,
    known_at AS event_timestamp,
    known_at AS created_timestamp,
    CAST(temp AS DOUBLE) AS temp,
    CAST(humid AS DOUBLE) AS humid,
    CASE WHEN wind_speed <= 200 THEN CAST(wind_speed AS DOUBLE) END AS wind_speed,
    CASE WHEN coalesce(wind_gust, wind_speed) <= 200 THEN CAST(coalesce(wind_gust, wind_speed) AS DOUBLE) END AS wind_gust,
    CAST(wind_dir AS DOUBLE) AS wind_dir,
    CAST(precip AS DOUBLE) AS precip,
    CAST(pressure AS DOUBLE) AS pressure,
    CAST(visib AS DOUBLE) AS visib
FROM main.weather
WHERE known_at IS NOT NULL
ORDER BY origin, event_timestamp
