"""How pages are read, outputs compared and steps chosen: what must be refused is refused."""

import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from expected import fits  # noqa: E402  # lies beside this file
from page import PageError, parse  # noqa: E402  # lies beside this file


def page(text):
    return parse(pathlib.Path("page.md"), text)


class Pages(unittest.TestCase):
    def test_a_program_has_the_data_below_it_as_output(self):
        blocks = page("```sh\necho a\n```\n\n<!-- figures vary -->\n```text\na\n```\n\nText.\n\n```text\nb\n```\n").blocks
        self.assertEqual([block.is_run for block in blocks], [True, False, False])
        self.assertIs(blocks[0].output, blocks[1])
        self.assertEqual(blocks[1].marks, {"figures vary": ""})

    def test_what_is_not_run_says_why(self):
        blocks = page("<!-- not run: needs a cluster -->\n```sh\nkubectl apply\n```\n<!-- file: a/b.R -->\n```r\n1\n```\n").blocks
        self.assertEqual([block.is_run for block in blocks], [False, False])
        self.assertEqual(blocks[0].marks, {"not run": "needs a cluster"})

    def test_an_unknown_block_is_refused(self):
        for text in (
            "```\necho a\n```\n",
            "```console\n$ echo a\n```\n",
            "Text.\n\n    rscore serve\n",
            "```sh\necho a\n",
            "<!-- not run -->\n```sh\necho a\n```\n",
            "<!-- skipped: no time -->\n```sh\necho a\n```\n",
            "<!-- not run: x -->\n```text\na\n```\n",
            "<!-- needs: luck -->\n",
        ):
            with self.subTest(text), self.assertRaises(PageError):
                page(text)

    def test_lists_may_be_indented(self):
        self.assertEqual(page("- a\n\n    - b\n").blocks, [])


class Outputs(unittest.TestCase):
    def test_lines_may_be_wrapped(self):
        self.assertTrue(fits('{"a":1,\n  "b":2}\n', '{"a":1,"b":2}\n'))

    def test_numbers_are_compared_digit_for_digit(self):
        self.assertFalse(fits("25.571516666666668", "25.571516666666667"))
        self.assertFalse(fits("1", "12"))

    def test_dots_stand_for_any_text_and_nothing_else_does(self):
        self.assertTrue(fits("a\n...\nz", "a\nb\nc\nz"))
        self.assertFalse(fits("a ... z", "b z"))
        self.assertFalse(fits("a.z", "abz"))

    def test_figures_may_vary_and_words_may_not(self):
        self.assertTrue(fits("loaded in 0.61 s", "loaded in 12 s", figures_vary=True))
        self.assertTrue(fits("id 01a1fd9e-2c10-74df-8f11-19d6b4c1703a", "id 01a1fd9e-2c10-74df-8f11-aaaaaaaaaaaa", figures_vary=True))
        self.assertFalse(fits("loaded in 0.61 s", "loaded in 0.61 ms", figures_vary=True))
        self.assertFalse(fits("loaded in 0.61 s", "loaded in 12 s"))


class Steps(unittest.TestCase):
    """How `scripts/test` takes its arguments."""

    SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "test"

    def run_script(self, *arguments):
        return subprocess.run([self.SCRIPT, *arguments], capture_output=True, text=True)

    def test_the_list_has_the_titles_that_pages_name(self):
        titles = re.findall(r'^  "([^|"]+)\|', self.SCRIPT.read_text(), re.MULTILINE)
        self.assertGreater(len(titles), 15)
        result = self.run_script("--list")
        self.assertEqual((result.returncode, result.stdout.splitlines()), (0, titles))

    def test_a_text_that_is_in_no_title_is_refused_before_any_step(self):
        for arguments in (["shellcheck", "Kubernetis"], ["--lisst"]):
            result = self.run_script(*arguments)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(arguments[-1], result.stderr)

    def test_the_help_has_examples(self):
        result = self.run_script("--help")
        self.assertEqual(result.returncode, 0)
        self.assertIn("scripts/test Kubernetes", result.stdout)


if __name__ == "__main__":
    unittest.main()
