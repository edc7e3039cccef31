"""What is known of a flight when it leaves the gate: the entities, the feature views and the service the model reads.

The sources are the results of `transforms/features/*.sql`, as Parquet files in the folder `TOWPATH_FEATURES`. Every one
says when a row became known (`created_timestamp`), so that the as-of filter protects all views.
"""

import os
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

SOURCES = os.environ.get("TOWPATH_FEATURES", "data")
OWNER = "flight-data@example.com"

carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline by its code.")
origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure.")
destination = Entity(
    name="destination", join_keys=["dest"], value_type=ValueType.STRING, description="Airport of arrival."
)
tail = Entity(name="tail", join_keys=["tailnum"], value_type=ValueType.STRING, description="Aircraft, by registration.")


def source(name: str) -> FileSource:
    """The Parquet file that `transforms/features/<name>.sql` becomes."""
    return FileSource(
        name=name,
        path=f"{SOURCES}/{name}.parquet",
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )


def delays(name: str, entity: Entity, *, recent: str, longer: str, ttl: timedelta, description: str) -> FeatureView:
    """A view of rolling arrival delays; `recent` and `longer` are its two windows, as in column names."""
    prefix = name.removesuffix("_delays")
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=ttl,
        schema=[
            Field(name=f"{prefix}_landed_{longer}", dtype=Float64, description=f"Flights landed in the last {longer}."),
            Field(name=f"{prefix}_late_rate_{longer}", dtype=Float64, description="Share of them arriving late."),
            Field(name=f"{prefix}_lost_{recent}", dtype=Float64, description="Mean minutes lost from gate to gate."),
            Field(name=f"{prefix}_lost_{longer}", dtype=Float64, description="Mean minutes lost from gate to gate."),
        ],
        source=source(name),
        description=description,
        owner=OWNER,
    )


carrier_delays = delays(
    "carrier_delays",
    carrier,
    recent="3h",
    longer="24h",
    ttl=timedelta(days=2),
    description="How late a carrier's flights ran that had already landed.",
)
origin_delays = delays(
    "origin_delays",
    origin,
    recent="3h",
    longer="24h",
    ttl=timedelta(days=2),
    description="How late flights from an origin ran that had already landed.",
)
destination_delays = delays(
    "destination_delays",
    destination,
    recent="3h",
    longer="24h",
    ttl=timedelta(days=2),
    description="How late flights to a destination ran that had already landed.",
)
aircraft_delays = delays(
    "aircraft_delays",
    tail,
    recent="24h",
    longer="7d",
    ttl=timedelta(days=14),
    description="How late an aircraft's flights ran that had already landed.",
)

origin_weather = FeatureView(
    name="origin_weather",
    entities=[origin],
    ttl=timedelta(hours=6),
    schema=[
        Field(name="temp", dtype=Float64, description="Degrees Fahrenheit."),
        Field(name="humid", dtype=Float64, description="Relative humidity, percent."),
        Field(name="wind_speed", dtype=Float64, description="Miles an hour."),
        Field(name="wind_gust", dtype=Float64, description="Miles an hour; the steady wind when no gust is reported."),
        Field(name="wind_dir", dtype=Float64, description="Degrees the wind comes from."),
        Field(name="precip", dtype=Float64, description="Inches."),
        Field(name="pressure", dtype=Float64, description="Millibars at sea level."),
        Field(name="visib", dtype=Float64, description="Miles, as far as 10."),
    ],
    source=source("origin_weather"),
    description="The last complete hourly observation at the origin.",
    owner=OWNER,
)

aircraft = FeatureView(
    name="aircraft",
    entities=[tail],
    ttl=timedelta(0),  # facts of the registry do not age
    schema=[
        Field(name="aircraft_age", dtype=Float64, description="Years between manufacture and 2013."),
        Field(name="seats", dtype=Float64, description="Number of seats."),
        Field(name="engines", dtype=Float64, description="Number of engines."),
        Field(name="engine", dtype=String, description="Kind of engine."),
        Field(name="manufacturer", dtype=String, description="Who built it."),
    ],
    source=source("aircraft"),
    description="What the registry says of the aircraft.",
    owner="fleet-registry@example.com",
)

flight_delay = FeatureService(
    name="flight_delay",
    features=[origin_weather, aircraft, carrier_delays, origin_delays, destination_delays, aircraft_delays],
    description="What the arrival-delay model reads beside the request.",
    owner=OWNER,
)
