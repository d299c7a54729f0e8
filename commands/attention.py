"""`attention`: an answer's words on the picture, by where their attention was."""

from __future__ import annotations

import argparse

from commands.arguments import (
    add_map_arguments,
    add_model_arguments,
    add_question_arguments,
    check_choice,
    check_generation,
)
from commands.closer import add_closer_arguments, check_closer
from commands.pictures import check_folder, look_of, take_pictures
from commands.then import add_then_argument, check_then

HELP = """Answer a prompt about pictures and clips, and draw where the attention of each word was.

example:
  python cli.py attention photo.jpg --prompt "Describe this image." --tokens words --output outputs/photo

writes into the output folder:
  token_000.png …        the picture under the map of each chosen token, numbered from 0
  word_000.png …         the same for words, with --tokens words
  prompt_word_000.png …  the same for the words of the prompt, with --prompt-words
  overview.png           all of them together
  original.png           the picture as the model was given it
  answer.txt             the answer
  boxes.json             its boxes and points, if it has some, in pixels of the picture
  maps.npz               the maps as numbers, with what they were made from; numpy.load opens it

About several pictures (python cli.py attention a.jpg b.jpg --prompt "Which is redder?") each has these files
in a folder of its own, picture_1, picture_2 …; their maps are parts of one, drawn by one measure.

About a clip (python cli.py attention clip.mp4 --prompt "What moves?" --tokens words) there are instead, of
all chosen tokens together, beside others in a folder of its own, clip_1 …:
  step_000.png …         each step, two frames of the clip, under its part of the map
  overview.png           all steps together, each with its time and its share
  moving.gif, .mp4       the clip as it moves under the map
  maps.npz               the maps of each token or word on each step (token, t, h, w), with the steps' times

With --closer or --crop the question is asked again with a part of the picture, cut out, beside the whole:
  closer/                the same of this answer, the part being the last of its pictures; where --tokens are
                         numbers, which are the first answer's, its words

With --then "And what else?" (as often as you like) a conversation goes on: the files of the first answer are
these, those of each later one stand in turn_2, turn_3 …; each question is printed above its answer.

The maps show attention. Attention is where a model looked, not proof of why it chose a word.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `attention`; the settings in config.py are the defaults."""
    add_question_arguments(command)
    add_then_argument(command)
    add_model_arguments(command)
    add_map_arguments(command)
    add_closer_arguments(command)


def check(args: argparse.Namespace) -> None:
    """Raise UsageError for what is wrong whatever the model answers; open the pictures."""
    check_choice(args)
    args.look = look_of(args, args.view)
    check_generation(args)
    take_pictures(args, args.image)
    check_closer(args)
    check_then(args)
    check_folder(args.output)
