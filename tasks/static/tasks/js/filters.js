// Submits the filters as soon as one changes, leaving out empty ones.

const form = document.querySelector("form.filters");

form?.addEventListener("change", (event) => {
  if (event.target.matches("select, input[type=checkbox]")) form.requestSubmit();
});
form?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  const { formData: data } = event;
  const hasDates = data.has("start") || data.has("end") || /after:|before:/.test(data.get("q"));
  if (!hasDates) data.delete("zone");
});
