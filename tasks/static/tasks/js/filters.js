// Sends the filters as soon as one changes, without those that are empty.

const form = document.querySelector("form.filters");

form?.addEventListener("change", (event) => {
  if (event.target.matches("select, input[type=checkbox]")) form.requestSubmit();
});
form?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
});
