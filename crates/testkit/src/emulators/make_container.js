// Makes a container: node -e <this> ADDRESS ACCOUNT KEY CONTAINER. No client of object stores can do that, so that the
// request is signed here, as Azure's "Authorize with Shared Key" says.
const crypto = require("crypto");
const [address, account, key, container] = process.argv.slice(1);
const date = new Date().toUTCString();
const version = "2021-08-06";
const resource = `/${account}/${account}/${container}\nrestype:container`;
const text = `PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:${date}\nx-ms-version:${version}\n${resource}`;
const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
fetch(`http://${address}/${account}/${container}?restype=container`, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": version, Authorization: `SharedKey ${account}:${signature}` },
}).then(async (answer) => {
  if (answer.status !== 201) {
    console.error(answer.status, await answer.text());
    process.exit(1);
  }
});
