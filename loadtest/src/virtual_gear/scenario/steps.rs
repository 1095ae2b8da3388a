//! Looking into pipelines: what steps there are, and a pipeline with fewer of them.

use serde_yaml_ng::Value;

use super::BuildAt;

impl BuildAt {
    /// The keys of its steps, in order; steps without a key are left out.
    ///
    /// # Errors
    /// The pipeline is not YAML, or has no steps.
    pub fn steps(&self) -> Result<Vec<String>, String> {
        let (_, steps) = self.read()?;
        let keys = steps
            .iter()
            .filter_map(|step| step.get("key")?.as_str().map(str::to_owned));
        Ok(keys.collect())
    }

    /// The same build without some steps; what waited for them no longer does. `None` if nothing is left.
    pub fn without(&self, keys: &[String]) -> Option<Self> {
        let (mut pipeline, steps) = self.read().ok()?;
        let is_dropped = |value: &Value| {
            value
                .as_str()
                .is_some_and(|key| keys.iter().any(|dropped| dropped == key))
        };
        let mut kept: Vec<Value> = steps
            .into_iter()
            .filter(|step| !step.get("key").is_some_and(is_dropped))
            .collect();
        if kept.is_empty() {
            return None;
        }
        for step in kept.iter_mut().filter_map(Value::as_mapping_mut) {
            match step.get_mut("depends_on") {
                Some(Value::Sequence(on)) => on.retain(|on| !is_dropped(on)),
                Some(on) if is_dropped(on) => {
                    step.remove("depends_on");
                }
                _ => {}
            }
        }
        *pipeline.get_mut("steps")? = Value::Sequence(kept);
        Some(Self {
            pipeline: serde_yaml_ng::to_string(&pipeline).ok()?,
            ..self.clone()
        })
    }

    fn read(&self) -> Result<(Value, Vec<Value>), String> {
        let pipeline: Value =
            serde_yaml_ng::from_str(&self.pipeline).map_err(|error| format!("is not YAML: {error}"))?;
        match pipeline.get("steps").and_then(Value::as_sequence) {
            Some(steps) if !steps.is_empty() => {
                let steps = steps.clone();
                Ok((pipeline, steps))
            }
            _ => Err("has no steps".to_owned()),
        }
    }
}
