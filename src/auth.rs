//! Who is calling and what may they do: keys, claims and scopes. Knows no HTTP.
