//! Reading JSON bodies field by field, strictly: what nobody took is an unknown name, as Google says it.

use serde_json::{Map, Value};

use super::form::Named;
use crate::gce::check::check_name;
use crate::gce::error::ApiError;

/// The fields of one object that were not taken yet, and where the object stands.
pub(super) struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    /// A body that must be an object. Nothing, `""` and `{}` are all empty.
    pub fn of_body(path: &str, body: &[u8]) -> Result<Self, ApiError> {
        let malformed = || ApiError::invalid("Invalid JSON payload received. Parse error.");
        let left = match body.trim_ascii() {
            b"" | b"\"\"" => Map::new(),
            text => match serde_json::from_slice(text) {
                Ok(Value::Object(left)) => left,
                _ => return Err(malformed()),
            },
        };
        Ok(Self {
            path: path.to_owned(),
            left,
        })
    }

    pub(super) fn of_value(path: String, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(left) => Ok(Self { path, left }),
            other => Err(ApiError::field(&path, &other.to_string(), "Must be an object.")),
        }
    }

    /// The field's value; `null` is as good as nothing.
    pub fn value(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong(&self, key: &str, value: &Value, why: &str) -> ApiError {
        ApiError::field(&self.at(key), &value.to_string(), why)
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, &other, "Must be a string.")),
        }
    }

    /// An enum by its name, out of these.
    pub fn name_of(&mut self, key: &str, known: &[&str]) -> Result<Option<String>, ApiError> {
        let name = self.text(key)?;
        match &name {
            Some(text) if !known.contains(&text.as_str()) => {
                let why = format!("Must be one of {}.", known.join(", "));
                Err(ApiError::field(&self.at(key), text, &why))
            }
            _ => Ok(name),
        }
    }

    /// The name of a resource that comes to be; an empty one is none.
    pub fn name(&mut self, key: &str) -> Result<Option<String>, ApiError> {
        let name = self.text(key)?.filter(|name| !name.is_empty());
        if let Some(name) = &name {
            check_name(&self.at(key), name)?;
        }
        Ok(name)
    }

    /// A truth value.
    pub fn flag(&mut self, key: &str) -> Result<Option<bool>, ApiError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.wrong(key, &other, "Must be a boolean.")),
        }
    }

    /// An integer, as a number or as a string.
    pub fn integer(&mut self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number
            .map(Some)
            .ok_or_else(|| self.wrong(key, &value, "Must be an integer."))
    }

    /// An integer that is not negative.
    pub fn count(&mut self, key: &str) -> Result<Option<u64>, ApiError> {
        let number = self.integer(key)?;
        number
            .map(|number| {
                let negative =
                    || ApiError::field(&self.at(key), &number.to_string(), "Must not be negative.");
                u64::try_from(number).map_err(|_| negative())
            })
            .transpose()
    }

    /// An object.
    pub fn object(&mut self, key: &str) -> Result<Option<Self>, ApiError> {
        let path = self.at(key);
        self.value(key)
            .map(|value| Self::of_value(path, value))
            .transpose()
    }

    /// A list of objects.
    pub fn objects(&mut self, key: &str) -> Result<Vec<Self>, ApiError> {
        let path = self.at(key);
        let items = match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(key, &other, "Must be a list.")),
        };
        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| Self::of_value(format!("{path}[{index}]"), item))
            .collect()
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>, ApiError> {
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    other => Err(self.wrong(key, &other, "Must be a list of strings.")),
                })
                .collect(),
            Some(other) => Err(self.wrong(key, &other, "Must be a list.")),
        }
    }

    /// All fields as named objects, for maps.
    pub fn named_objects(self) -> Result<Vec<(String, Self)>, ApiError> {
        let path = self.path;
        let named = |(key, value): (String, Value)| {
            let fields = Self::of_value(format!("{path}[{key}]"), value)?;
            Ok((key, fields))
        };
        self.left.into_iter().map(named).collect()
    }

    /// All fields as named texts, for maps.
    pub fn named_texts(self) -> Result<Vec<(String, String)>, ApiError> {
        let path = self.path;
        let named = |(key, value): (String, Value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Null => Ok((key, String::new())),
            other => Err(ApiError::field(
                &format!("{path}[{key}]"),
                &other.to_string(),
                "Must be a string.",
            )),
        };
        self.left.into_iter().map(named).collect()
    }

    /// Takes fields that are only shown again, as far as they have the right form.
    pub fn echo(&mut self, forms: &[Named], into: &mut Map<String, Value>) -> Result<(), ApiError> {
        for (key, form) in forms {
            if let Some(value) = self.value(key) {
                form.check(&self.at(key), &value)?;
                into.insert((*key).to_owned(), value);
            }
        }
        Ok(())
    }

    /// Takes fields that mean nothing here, as far as they have the right form.
    pub fn check(&mut self, forms: &[Named]) -> Result<(), ApiError> {
        self.echo(forms, &mut Map::new())
    }

    /// Takes fields that Google has and the fake has not. Saying nothing in them is not asking for them: some
    /// clients write what was never set.
    pub fn not_built(&mut self, keys: &[&str]) -> Result<(), ApiError> {
        match self.given(keys) {
            Some(field) => Err(ApiError::not_built(&field)),
            None => Ok(()),
        }
    }

    /// Takes fields that a bulk insert must not have.
    pub fn not_in_bulk(&mut self, keys: &[&str]) -> Result<(), ApiError> {
        match self.given(keys) {
            Some(field) => Err(ApiError::invalid(format!(
                "Invalid value for field '{field}'. It is not supported in bulk insert."
            ))),
            None => Ok(()),
        }
    }

    /// The first of these fields that says something. All are taken.
    fn given(&mut self, keys: &[&str]) -> Option<String> {
        let says = |value: &Value| match value {
            Value::Bool(flag) => *flag,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Number(_) => true,
            Value::Null => false,
        };
        let mut found = None;
        for key in keys {
            if self.value(key).is_some_and(|value| says(&value)) {
                found.get_or_insert_with(|| self.at(key));
            }
        }
        found
    }

    /// Takes fields that mean nothing in a request.
    pub fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.left.remove(*key);
        }
    }

    /// Everything known was taken: what is left is unknown.
    pub fn end(self) -> Result<(), ApiError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(unknown(&self.path, key)),
        }
    }
}

/// The refusal of a field that does not exist.
pub(super) fn unknown(path: &str, key: &str) -> ApiError {
    let place = if path.is_empty() {
        String::new()
    } else {
        format!(" at '{path}'")
    };
    let why = format!("Invalid JSON payload received. Unknown name \"{key}\"{place}: Cannot find field.");
    ApiError::invalid(why)
}
