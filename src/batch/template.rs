//! Path templates with captures: `history/product{p:int}.csv` matches objects,
//! gives the values of its captures, and writes the path of an output from
//! them. What was read off a path writes that same path again.

use std::collections::HashSet;
use std::fmt;

/// What values a capture takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CaptureKind {
    /// Any text without a slash.
    Text,
    /// A whole number without leading zeros, so that one number has one path.
    Integer,
    /// A day, `2026-11-25`.
    Date,
}

/// A path with captures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Capture { name: String, kind: Option<CaptureKind> },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that names the place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (literal, from) = rest.split_at(start);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let inner = from.strip_prefix('{').ok_or_else(|| format!("'{text}' has a '}}' without a '{{'"))?;
            let (inside, after) =
                inner.split_once('}').ok_or_else(|| format!("'{text}' has a '{{' that is never closed"))?;
            if matches!(parts.last(), Some(Part::Capture { .. })) {
                return Err(format!(
                    "'{text}' has two captures with nothing between them; no path tells where one ends"
                ));
            }
            parts.push(capture(inside)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Names of the captures in order, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.captures() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Names and declared types of the captures.
    pub fn captures(&self) -> impl Iterator<Item = (&str, Option<CaptureKind>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Capture { name, kind } => Some((name.as_str(), *kind)),
            Part::Literal(_) => None,
        })
    }

    /// Gives captures without a type the type that the same name has elsewhere.
    pub fn with_kinds(mut self, kinds: impl Fn(&str) -> Option<CaptureKind>) -> Self {
        for part in &mut self.parts {
            if let Part::Capture { name, kind } = part {
                *kind = kind.or_else(|| kinds(name));
            }
        }
        self
    }

    /// The folder in which all paths of the template lie, with its slash; empty
    /// when the first folder already varies.
    pub fn folder(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(literal)) => &literal[..literal.rfind('/').map_or(0, |slash| slash + 1)],
            _ => "",
        }
    }

    /// The template of the paths below [`Template::folder`].
    pub fn below_folder(&self) -> Self {
        let mut parts = self.parts.clone();
        let folder = self.folder().len();
        if let Some(Part::Literal(literal)) = parts.first_mut() {
            literal.drain(..folder);
            if literal.is_empty() {
                parts.remove(0);
            }
        }
        Self { parts }
    }

    /// The values of the captures in the order of [`Template::names`], when the
    /// path is one of the template's. Where several values would do, an earlier capture
    /// is as short as it can be.
    pub fn read(&self, path: &str) -> Option<Vec<String>> {
        let repeats = self.captures().count() > self.names().len();
        let mut reading = Reading { values: Vec::new(), dead_ends: (!repeats).then(HashSet::new) };
        let found = reading.read(&self.parts, path);
        found.then(|| reading.values.into_iter().map(|(_, value)| value.to_owned()).collect())
    }

    /// How its paths end: what stands behind the last capture.
    pub fn end(&self) -> &str {
        match self.parts.last() {
            Some(Part::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The path with these values; `None` when one is not known.
    pub fn write<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut path = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => path.push_str(literal),
                Part::Capture { name, .. } => path.push_str(value(name)?),
            }
        }
        Some(path)
    }
}

/// The values that were read off a path so far.
struct Reading<'a> {
    values: Vec<(&'a str, &'a str)>,
    /// How many parts and bytes were left where nothing fits, so that no place is looked
    /// at twice; none where a name stands twice, for then its value matters too.
    dead_ends: Option<HashSet<(usize, usize)>>,
}

impl<'a> Reading<'a> {
    /// Whether the rest of a path is what these parts say.
    fn read(&mut self, parts: &'a [Part], rest: &'a str) -> bool {
        match parts {
            [] => rest.is_empty(),
            [Part::Literal(literal), after @ ..] => {
                rest.strip_prefix(literal.as_str()).is_some_and(|rest| self.read(after, rest))
            }
            [Part::Capture { name, kind }, after @ ..] => {
                let place = (parts.len(), rest.len());
                if self.dead_ends.as_ref().is_some_and(|dead_ends| dead_ends.contains(&place)) {
                    return false;
                }
                let found = ends(after, rest)
                    .filter(|&end| kind.unwrap_or(CaptureKind::Text).takes(&rest[..end]))
                    .any(|end| self.read_as(name, &rest[..end], after, &rest[end..]));
                if !found && let Some(dead_ends) = &mut self.dead_ends {
                    dead_ends.insert(place);
                }
                found
            }
        }
    }

    /// Whether a path goes on when a capture has this value.
    fn read_as(&mut self, name: &'a str, value: &'a str, after: &'a [Part], rest: &'a str) -> bool {
        match self.values.iter().find(|(other, _)| *other == name) {
            Some((_, before)) => *before == value && self.read(after, rest),
            None => {
                self.values.push((name, value));
                let known = self.values.len();
                let found = self.read(after, rest);
                if !found {
                    self.values.truncate(known - 1);
                }
                found
            }
        }
    }
}

/// Where a capture may end that these parts follow: before their literal, the nearest
/// place first. The last literal is the end of the path.
fn ends<'a>(after: &'a [Part], rest: &'a str) -> Box<dyn Iterator<Item = usize> + 'a> {
    match after {
        [Part::Literal(last)] => Box::new(rest.strip_suffix(last.as_str()).map(str::len).into_iter()),
        [Part::Literal(next), ..] => {
            let begins = move |&(place, _): &(usize, char)| rest[place..].starts_with(next.as_str());
            Box::new(rest.char_indices().filter(begins).map(|(place, _)| place))
        }
        _ => Box::new(std::iter::once(rest.len())),
    }
}

impl CaptureKind {
    /// Whether this is a value of the type.
    pub fn takes(self, value: &str) -> bool {
        match self {
            Self::Text => !value.is_empty() && !value.contains('/'),
            Self::Integer => {
                let digits = value.strip_prefix('-').unwrap_or(value);
                value == "0"
                    || (!digits.is_empty()
                        && !digits.starts_with('0')
                        && digits.bytes().all(|byte| byte.is_ascii_digit()))
            }
            Self::Date => {
                value.len() == 10 && value.parse::<jiff::civil::Date>().is_ok_and(|date| date.to_string() == value)
            }
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "int" => Self::Integer,
            "date" => Self::Date,
            _ => return None,
        })
    }
}

impl fmt::Display for CaptureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Integer => "int",
            Self::Date => "date",
        })
    }
}

fn capture(inside: &str) -> Result<Part, String> {
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => {
            let known = CaptureKind::parse(kind).ok_or_else(|| {
                format!("the capture {{{inside}}} has the type '{kind}'; known are text, int and date")
            })?;
            (name, Some(known))
        }
        None => (inside, None),
    };
    let mut characters = name.chars();
    let begins_well = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !begins_well || !characters.all(|other| other.is_ascii_alphanumeric() || other == '_') {
        return Err(format!(
            "the capture {{{inside}}} needs a name of letters, digits and underscores, such as {{p:int}}"
        ));
    }
    Ok(Part::Capture { name: name.to_owned(), kind })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Literal(literal) => f.write_str(literal)?,
                Part::Capture { name, kind: None } => write!(f, "{{{name}}}")?,
                Part::Capture { name, kind: Some(kind) } => write!(f, "{{{name}:{kind}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
