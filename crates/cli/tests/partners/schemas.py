"""Holds documents against the JSON Schemas of image-spec.

Usage: python3 schemas.py FOLDER CASES; prints for each case true, false, or null for no JSON.
"""
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
import jsonschema

FOLDER, CASES = sys.argv[1:]
SCHEMAS = {
    name: json.load(open(os.path.join(FOLDER, name)))
    for name in os.listdir(FOLDER)
    if name.endswith(".json")
}
NAMES = {
    "descriptor": "content-descriptor.json",
    "index": "image-index-schema.json",
    "index.json": "image-index-schema.json",
    "manifest": "image-manifest-schema.json",
    "config": "config-schema.json",
    "layout": "image-layout-schema.json",
}


class Resolver(jsonschema.RefResolver):
    """Every reference is to one of the files, whatever stands before its name."""

    def resolve_from_url(self, url):
        document, _, fragment = url.partition("#")
        return self.resolve_fragment(SCHEMAS[document.rsplit("/", 1)[-1]], fragment)


def is_valid(form, text):
    schema = SCHEMAS[NAMES[form]]
    resolver = Resolver("file:///" + NAMES[form], schema)
    return jsonschema.Draft4Validator(schema, resolver=resolver).is_valid(json.loads(text))


verdicts = []
for case in json.load(open(CASES)):
    try:
        verdicts.append(is_valid(case["form"], case["json"]))
    except ValueError:
        verdicts.append(None)
json.dump(verdicts, sys.stdout)
