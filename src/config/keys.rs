//! The names of all settings, read off the defaults, so that none is typed twice.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::environment::PREFIX;
use super::settings::Settings;

/// Every key with its default; `null` for an option that is not set.
static DEFAULTS: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| values_of(&Settings::default()));

/// Every key with its default.
pub(super) fn defaults() -> &'static BTreeMap<String, Value> {
    &DEFAULTS
}

/// Every key with its value in these settings.
pub(super) fn values_of(settings: &Settings) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    let Ok(Value::Object(sections)) = serde_json::to_value(settings) else {
        unreachable!("settings are sections of text, numbers, switches and lists")
    };
    for (section, entries) in sections {
        let Value::Object(entries) = entries else { unreachable!("every setting is in a section") };
        for (name, value) in entries {
            values.insert(format!("{section}.{name}"), value);
        }
    }
    values
}

/// The defaults with one value replaced, as settings; fails when the value is
/// not of the key's type or range.
pub(super) fn settings_with(key: &str, value: Value) -> Result<Settings, serde_json::Error> {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let entries = BTreeMap::from([(name, value)]);
    // Sections and keys that are not given take their defaults (`serde(default)`).
    serde_json::from_value(serde_json::to_value(BTreeMap::from([(section, entries)]))?)
}

/// `server.listen` is `RSCORE_SERVER__LISTEN` in the environment.
pub fn environment_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The key whose name is nearest to a mistyped one, or none when all are far.
pub(super) fn nearest(mistyped: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    let name = last(mistyped);
    // A right name in a wrong section, or in none, is as near as a typing error.
    let distance = |key: &str| strsim::osa_distance(mistyped, key).min(1 + strsim::osa_distance(&name, &last(key)));
    // Of two that are as near, the one whose section is right but for a typing error.
    let rank = |key: &'static String| (distance(key), strsim::osa_distance(mistyped, key), key);
    let (distance, _, key) = DEFAULTS.keys().map(rank).min()?;
    (distance <= 1 + name.len() / 3).then_some(key.as_str())
}

/// The variable whose name is nearest to a mistyped one.
pub(super) fn nearest_environment_name(mistyped: &str) -> Option<String> {
    let key = mistyped.strip_prefix(PREFIX).unwrap_or(mistyped).to_lowercase().replace("__", ".");
    nearest(&key).map(environment_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_key() {
        assert_eq!(nearest("server.listen"), Some("server.listen"));
        assert_eq!(nearest("servr.listen"), Some("server.listen"));
        assert_eq!(nearest("server.certificate"), Some("tls.certificate"));
        assert_eq!(nearest("limits.max_row"), Some("limits.max_rows"));
        assert_eq!(nearest("limit.max_rows"), Some("limits.max_rows"));
        assert_eq!(nearest("listn"), Some("server.listen"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"), None);
        assert_eq!(nearest_environment_name("RSCORE_SERVER_LISTEN").as_deref(), Some("RSCORE_SERVER__LISTEN"));
    }

    #[test]
    fn options_without_a_value_are_keys_too() {
        assert_eq!(defaults().get("tls.key"), Some(&Value::Null));
        assert_eq!(defaults().get("auth.keys"), Some(&Value::Array(Vec::new())));
    }
}
