/// A name in which `*` stands for any characters, or none.
pub struct Pattern {
    first: String,        // start of the name
    middle: Vec<String>,  // parts that follow, in this order
    last: Option<String>, // end of the name; None without any `*`
}

impl Pattern {
    pub fn new(text: String) -> Pattern {
        let mut parts = text.split('*').map(str::to_string);
        let first = parts.next().unwrap_or_default();
        let mut middle: Vec<String> = parts.collect();
        let last = middle.pop();
        middle.retain(|part| !part.is_empty());
        Pattern { first, middle, last }
    }

    /// Matches each part at its first place, so the time grows only with the length of the name.
    pub fn matches(&self, name: &str) -> bool {
        let last = match &self.last {
            Some(last) => last,
            None => return name == self.first,
        };
        let inner = name.strip_prefix(self.first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let mut rest = match inner {
            Some(inner) => inner,
            None => return false,
        };
        for part in &self.middle {
            rest = match rest.find(part.as_str()) {
                Some(at) => &rest[at + part.len()..],
                None => return false,
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, want) in [
            ("lobby", "lobby", true),
            ("lobby", "lobby-1", false),
            ("lobby-*", "lobby-", true),
            ("lobby-*", "lobby", false),
            ("*-open", "x-open", true),
            ("*-open", "x-opens", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("*ü*", "grün", true),
        ] {
            assert_eq!(Pattern::new(pattern.to_string()).matches(name), want, "{} {}", pattern, name);
        }
    }
}
